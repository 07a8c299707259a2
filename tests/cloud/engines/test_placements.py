"""How providers are set up, as far as that can be said without their hardware."""

import importlib
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from isthmus import ConfigError
from isthmus_cloud.engines import providers
from isthmus_cloud.engines.ort_session import CPU, Placement
from isthmus_cloud.engines.providers import NotOfferedError, placements_for

GPU_WHEEL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU]


@pytest.fixture
def tried(no_plug_ins: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Placement]:
    """All placements that are tried; every one works."""
    placements: list[Placement] = []

    def works(_: bytes, placement: Placement, threads: int) -> None:
        assert threads == 3
        placements.append(placement)

    monkeypatch.setattr(providers, "open_session", works)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [*GPU_WHEEL, "OpenVINOExecution"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return placements


def test_cuda_keeps_tensors_on_the_device_and_is_tried_in_fp16_first(
    tried: list[Placement], monkeypatch: pytest.MonkeyPatch
) -> None:
    half, full = placements_for("cuda", 3)
    assert full == Placement(word="cuda", provider="CUDAExecutionProvider", memory="cuda")
    assert half == replace(full, precision="fp16", halves=True)
    monkeypatch.setattr(providers, "can_halve", lambda: False)
    assert placements_for("cuda", 3) == (full,)
    assert tried == [full, full]


def test_tensorrt_is_tried_in_fp16_first_and_joins_on_cuda(
    tried: list[Placement], tmp_path: Path
) -> None:
    half, full = placements_for("tensorrt", 3)
    assert [each.title for each in (half, full)] == [
        "TensorrtExecutionProvider (fp16)",
        "TensorrtExecutionProvider",
    ]
    assert [each.options["trt_fp16_enable"] for each in (half, full)] == ["1", "0"]
    assert {each.options["trt_engine_cache_path"] for each in (half, full)} == {
        str(tmp_path / "isthmus/tensorrt")
    }
    assert (half.behind, half.memory, half.largest_batch) == (
        ("CUDAExecutionProvider",),
        "cuda",
        32,
    )
    joins = Placement(word="tensorrt", provider="CUDAExecutionProvider", memory="cuda")
    assert tried == [half.for_joins] == [joins]


def test_openvino_computes_on_so_many_threads_in_fp32(
    tried: list[Placement], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["OpenVINOExecutionProvider", CPU])
    (openvino,) = placements_for("openvino", 3)
    assert openvino.options == {
        "device_type": "CPU",
        "num_of_threads": "3",
        "precision": "FP32",
    }
    assert openvino.memory is None


class FakePlugIn:
    """The module of a plug-in, and the part of ONNX Runtime that takes it."""

    def __init__(self, *devices: Any) -> None:
        self.devices = devices
        self.registered: list[str] = []

    def get_library_path(self) -> str:
        return "a library"

    def register(self, name: str, path: str) -> None:
        assert path == "a library"
        self.registered.append(name)


class FakeDevice:
    def __init__(self, kind: Any, ep_name: str = "WebGpuExecutionProvider") -> None:
        self.ep_name = ep_name
        self.device = type("Device", (), {"type": kind})


CPU_KIND, GPU_KIND = ort.OrtHardwareDeviceType.CPU, ort.OrtHardwareDeviceType.GPU


def plug(monkeypatch: pytest.MonkeyPatch, plug_in: FakePlugIn) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: plug_in)
    monkeypatch.setattr(importlib, "import_module", lambda _: plug_in)
    monkeypatch.setattr(ort, "register_execution_provider_library", plug_in.register)
    monkeypatch.setattr(ort, "get_ep_devices", lambda: plug_in.devices)


def test_a_plug_in_is_registered_once_and_its_first_gpu_is_taken(
    tried: list[Placement], monkeypatch: pytest.MonkeyPatch
) -> None:
    imitation, first, second = FakeDevice(CPU_KIND), FakeDevice(GPU_KIND), FakeDevice(GPU_KIND)
    other = FakeDevice(GPU_KIND, "OtherExecutionProvider")
    plug_in = FakePlugIn(other, imitation, first, second)
    plug(monkeypatch, plug_in)
    (webgpu,) = placements_for("webgpu", 3)
    assert webgpu.plugged == (first,)
    assert webgpu.one_at_a_time
    # From now on ONNX Runtime lists it, too.
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU, "WebGpuExecutionProvider"])
    assert placements_for("webgpu", 3) == (webgpu,)
    assert plug_in.registered == ["isthmus.onnxruntime_ep_webgpu"]
    plug_in.devices = (imitation,)
    assert placements_for("webgpu", 3)[0].plugged == (imitation,)
    assert len(tried) == 3


def test_a_plug_in_without_a_device_is_refused(
    tried: list[Placement], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(monkeypatch, FakePlugIn())
    with pytest.raises(ConfigError, match=r"finds no device.*a Vulkan driver") as refused:
        placements_for("webgpu", 3)
    assert not isinstance(refused.value, NotOfferedError)
    assert tried == []


def test_a_plug_in_that_cannot_be_loaded_is_refused(
    tried: list[Placement], monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in = FakePlugIn(FakeDevice(GPU_KIND))
    plug(monkeypatch, plug_in)

    def refuse(_: str, __: str) -> None:
        raise RuntimeError("of another version")

    monkeypatch.setattr(ort, "register_execution_provider_library", refuse)
    with pytest.raises(
        ConfigError, match=r"onnxruntime_ep_webgpu cannot be loaded .*of another ver"
    ):
        placements_for("webgpu", 3)
    assert tried == []
