"""Which engine and which provider: honoured, refused with the way out, or found automatically."""

import logging
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import onnxruntime as ort
import pytest

from isthmus import Bundle, ConfigError, ModelError
from isthmus_cloud.engines import choice as choosing
from isthmus_cloud.engines.choice import PROVIDER_CHOICES, check_choice, open_engine
from isthmus_cloud.engines.concat_graph import concat_graph
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort_session import CPU, CPU_PLACEMENT, Placement, open_session
from isthmus_cloud.engines.providers import NotOfferedError, Provider, placements_for
from isthmus_cloud.engines.seam import Engine
from isthmus_cloud.engines.triton_address import TritonAddress

pytestmark = [
    # ONNX Runtime warns of a provider that it does not know, and goes on without: so do they here.
    pytest.mark.filterwarnings("ignore:Specified provider"),
    pytest.mark.usefixtures("no_plug_ins"),
]


def require_absent(name: str) -> None:
    """Skips where ONNX Runtime's wheel holds this provider."""
    if name in ort.get_available_providers():
        pytest.skip(f"{name} is installed here")


def pretend(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """ONNX Runtime lists these although they cannot be used, as its GPU wheel does anywhere."""
    listed = [*names, *ort.get_available_providers()]
    monkeypatch.setattr(ort, "get_available_providers", lambda: listed)


def offer(monkeypatch: pytest.MonkeyPatch, *placements: Placement) -> None:
    """The first of them are those of CUDA, the only provider that works beside the CPU."""

    def found(provider: Provider, threads: int) -> tuple[Placement, ...]:
        assert threads == 1
        if provider == "cpu":
            return (CPU_PLACEMENT,)
        if provider != "cuda":
            raise NotOfferedError("not here")
        return placements

    monkeypatch.setattr(choosing, "placements_for", found)


def test_the_cpu_is_always_there(bundle: Bundle) -> None:
    assert open_engine("onnxruntime", "cpu", Cores(1), bundle).provider == CPU


def test_without_more_the_cpu_is_found(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    require_absent("CUDAExecutionProvider")
    require_absent("OpenVINOExecutionProvider")
    with caplog.at_level(logging.INFO):
        assert open_engine("onnxruntime", "auto", Cores(1), bundle).provider == CPU
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("provider", "name", "way_out"),
    [
        ("cuda", "CUDAExecutionProvider", r"isthmus\[cloud-gpu\]"),
        ("tensorrt", "TensorrtExecutionProvider", "pip install tensorrt"),
        ("openvino", "OpenVINOExecutionProvider", r"isthmus\[cloud-openvino\]"),
        ("webgpu", "WebGpuExecutionProvider", r"isthmus\[cloud-webgpu\]"),
    ],
)
def test_a_provider_that_is_not_there_is_refused_with_the_way_out(
    bundle: Bundle, provider: Provider, name: str, way_out: str
) -> None:
    require_absent(name)
    with pytest.raises(ConfigError, match=f"provider is '{provider}', but .*{way_out}.*or choose"):
        open_engine("onnxruntime", provider, Cores(1), bundle)


def test_a_provider_that_is_listed_and_does_not_work_is_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_absent("CUDAExecutionProvider")
    pretend(monkeypatch, "CUDAExecutionProvider")
    with pytest.raises(ConfigError, match=r"is installed and does not work: .*NVIDIA's driver"):
        placements_for("cuda", 1)


def test_a_provider_that_does_not_work_is_passed_over_with_a_warning(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    require_absent("OpenVINOExecutionProvider")
    pretend(monkeypatch, "OpenVINOExecutionProvider")
    assert open_engine("onnxruntime", "auto", Cores(1), bundle).provider == CPU
    assert "openvino is not used: OpenVINOExecutionProvider is installed and does" in caplog.text


def test_the_first_placement_that_agrees_is_taken(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As TensorRT is tried in fp16 first, and in fp32 where that damages the answers."""
    wrong = Placement(word="cuda", provider="NoExecutionProvider", precision="fp16")
    right = Placement(word="cuda", provider=CPU, memory="cpu")
    offer(monkeypatch, wrong, right)
    engine = open_engine("onnxruntime", "cuda", Cores(1), bundle)
    assert engine.provider == CPU
    with caplog.at_level(logging.INFO):
        assert open_engine("onnxruntime", "auto", Cores(1), bundle).provider == CPU
    assert "CPUExecutionProvider agrees with the CPU within" in caplog.text


def test_where_none_agrees_a_wish_is_refused_and_auto_goes_on(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    half = Placement(word="cuda", provider=CPU, memory="cpu", precision="fp16")
    offer(monkeypatch, half, replace(half, precision=""))
    monkeypatch.setattr("isthmus_cloud.engines.trial.MOST_ERROR", -1.0)
    with pytest.raises(ConfigError, match=r"'cuda', but this bundle .*\(fp16\).*'auto' or 'cpu'"):
        open_engine("onnxruntime", "cuda", Cores(1), bundle)
    assert open_engine("onnxruntime", "auto", Cores(1), bundle).provider == CPU
    assert "cuda is not used: the tail of 'input' answers otherwise" in caplog.text


def test_less_than_fp32_is_used_only_if_every_tail_was_compared(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Placement(word="cuda", provider=CPU, memory="cpu", precision="fp16")
    offer(monkeypatch, half, replace(half, precision=""))
    asked: list[bool] = []

    def compare(_: Engine, __: Engine, ___: Bundle, *, of_all: bool) -> float:
        asked.append(of_all)
        if of_all:
            raise ModelError("one could not be compared")
        return 0.0

    monkeypatch.setattr(choosing, "require_agreement", compare)
    assert open_engine("onnxruntime", "cuda", Cores(1), bundle).provider == CPU
    assert asked == [True, False]


def test_what_is_no_gpu_of_a_server_has_to_be_faster(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = Placement(word="openvino", provider=CPU, memory="cpu")
    found = {"openvino": (other,), "cpu": (CPU_PLACEMENT,)}

    def placements(provider: Provider, _: int) -> tuple[Placement, ...]:
        if provider not in found:
            raise NotOfferedError("not here")
        return found[provider]

    monkeypatch.setattr(choosing, "placements_for", placements)
    monkeypatch.setattr(choosing, "is_faster", lambda *_: False)
    with caplog.at_level(logging.INFO):
        open_engine("onnxruntime", "auto", Cores(1), bundle)
        open_engine("onnxruntime", "openvino", Cores(1), bundle)
        assert caplog.text.count("openvino is not used: the CPU provider is faster here") == 1
        monkeypatch.setattr(choosing, "is_faster", lambda *_: True)
        open_engine("onnxruntime", "auto", Cores(1), bundle)
    assert caplog.text.count("is not used") == 1


def test_a_session_without_its_provider_is_none() -> None:
    require_absent("CUDAExecutionProvider")
    cuda = Placement(word="cuda", provider="CUDAExecutionProvider")
    with pytest.raises(RuntimeError, match="left CUDAExecutionProvider out and offers CPUExec"):
        open_session(concat_graph(2, 1, 1, 0), cuda, 1)


@pytest.mark.skipif(find_spec("onnx2pytorch") is not None, reason="PyTorch is installed here")
def test_pytorch_where_there_is_none_is_refused_with_the_way_out(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"'torch' needs .* install isthmus\[cloud-torch\], or"):
        open_engine("torch", "auto", Cores(1), bundle)


@pytest.mark.parametrize(
    ("choice", "provider", "message"),
    [
        (
            "onnx",
            "auto",
            "engine is 'onnx'; allowed are onnxruntime, torch, triton://HOST:PORT and python:",
        ),
        ("onnxruntime", "gpu", f"'onnxruntime' allowed are {', '.join(PROVIDER_CHOICES)}"),
        ("triton://[::1]:8001", "cuda", "provider is 'cuda'; with the engine 'triton://"),
        ("torch", "openvino", "with the engine 'torch' allowed are auto, cuda, cpu"),
        ("triton://here", "auto", "is not triton://HOST:PORT"),
        ("triton://here:port", "auto", "is not triton://HOST:PORT"),
        ("triton://me:pw@here:8001", "auto", "is not triton://HOST:PORT"),
        ("triton://here:8001/model", "auto", "is not triton://HOST:PORT"),
        ("triton://[::1]:8001?timeout=2", "auto", "timeout=2 cannot be used; the form is"),
        ("triton://[::1]:8001?insecure=no", "auto", "insecure=no cannot be used; the form is"),
        ("triton://[::1]:8001?insecure", "auto", "is not triton://HOST:PORT"),
        ("triton://here:8001", "auto", "in the clear; add ?tls=CA.pem (or ?tls=system), or ?inse"),
        ("triton://here:8001?tls=nowhere.pem", "auto", "nowhere.pem cannot be read (No such file"),
        ("triton://[::1]:8001?timeout_s=0", "auto", "a number of seconds above 0"),
        ("triton://[::1]:8001?timeout_s=soon", "auto", "a number of seconds above 0"),
        ("triton://[::1]:8001?timeout_s=inf", "auto", "a number of seconds above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(choice: str, provider: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_choice(choice, provider)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "choice",
    [
        "onnxruntime",
        "torch",
        "triton://[::1]:8001",
        "triton://localhost:8001/?timeout_s=2.5",
        "triton://here:8001?insecure=yes",
        "triton://here:8001?timeout_s=2&tls=system",
    ],
)
def test_what_can_be_meant_is_not(choice: str) -> None:
    check_choice(choice, "auto")


def test_an_address_says_where_the_server_is_and_how_it_is_reached(tmp_path: Path) -> None:
    plain = TritonAddress.parse("triton://[::1]:8001?timeout_s=2.5")
    assert plain == TritonAddress(target="[::1]:8001", timeout_s=2.5)
    (tmp_path / "ca.pem").write_bytes(b"an authority")
    secured = TritonAddress.parse(f"triton://here:8001?tls={tmp_path / 'ca.pem'}")
    assert secured == TritonAddress(target="here:8001", tls=True, authorities=b"an authority")
    by_system = TritonAddress.parse("triton://here:8001?tls=system")
    assert by_system == TritonAddress(target="here:8001", tls=True)
