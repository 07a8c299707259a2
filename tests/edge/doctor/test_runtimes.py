"""What the doctor says of runtimes: none, slow ones, wrong ones, and some that take others down."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.edge.doctor.machine import assert_bad, the_only

from isthmus_edge.doctor.child import Answer, Child, ChildError
from isthmus_edge.doctor.runtimes import RuntimeTrials
from isthmus_edge.doctor.trial import Trial

ORT = {"onnxruntime": "1.31.1", "numpy": "2.4.6"}
TFLITE = {"tflite-runtime": "2.14.0", "numpy": "2.4.6"}


@dataclass
class FakeChild:
    """Answers by runtime; a text is how a child ended that gave no answer."""

    answers: Mapping[str, Any]
    asked: list[Sequence[str]] = field(default_factory=list)

    def ask(self, answer: type[Answer], arguments: Sequence[str]) -> Answer:
        self.asked.append(arguments)
        found = self.answers[arguments[1]]
        if isinstance(found, str):
            raise ChildError(found)
        assert isinstance(found, answer)
        return found


def trial(fp32_ms: float = 1.0, int8_ms: float = 0.5, agreement: float = 0.9999) -> Trial:
    return Trial(
        version="1.31.1",
        import_ms=40.0,
        load_ms=3.0,
        fp32_ms=fp32_ms,
        int8_ms=int8_ms,
        agreement=agreement,
    )


def trials(installed: dict[str, str], answers: Mapping[str, Any]) -> RuntimeTrials:
    return RuntimeTrials(child=FakeChild(answers), version_of=installed.get)


def test_a_device_without_a_runtime_fails() -> None:
    tried = trials({"numpy": "2.4.6"}, {})
    finding = the_only(tried.look())
    assert_bad(finding, "fail", "no runtime")
    assert "pip install 'isthmus[edge]'" in str(finding.way_out)
    assert tried.working == []


def test_a_runtime_that_is_faster_in_int8_is_fine_and_tells_its_figures() -> None:
    tried = trials(ORT, {"onnxruntime": trial()})
    finding = the_only(tried.look())
    assert finding.state == "ok"
    assert "2.0 times faster" in finding.text
    assert (finding.figures["fp32_ms"], finding.figures["int8_ms"]) == (1.0, 0.5)
    assert tried.working == ["onnxruntime"]


def test_the_wheel_for_gpus_counts_as_the_same_runtime() -> None:
    tried = trials({"onnxruntime-gpu": "1.31.1"}, {"onnxruntime": trial()})
    assert the_only(tried.look()).state == "ok"


def test_int8_that_is_slower_than_fp32_is_a_warning() -> None:
    tried = trials(ORT, {"onnxruntime": trial(fp32_ms=1.0, int8_ms=3.0)})
    finding = the_only(tried.look())
    assert_bad(finding, "warn", "3.0 times slower")
    assert tried.working == ["onnxruntime"]


def test_int8_that_is_slower_within_the_noise_is_no_warning() -> None:
    finding = the_only(trials(ORT, {"onnxruntime": trial(fp32_ms=1.0, int8_ms=1.05)}).look())
    assert (finding.state, "about the same" in finding.text) == ("ok", True)


def test_int8_that_computes_something_else_is_a_failure() -> None:
    tried = trials(ORT, {"onnxruntime": trial(agreement=0.3)})
    assert_bad(the_only(tried.look()), "fail", "something else")
    assert tried.working == []


def test_a_broken_runtime_hides_no_other() -> None:
    answers = {"onnxruntime": "it crashed (SIGILL)", "litert": trial()}
    tried = trials(ORT | {"ai-edge-litert": "2.3.0"}, answers)
    first, second = tried.look()
    assert_bad(first, "fail", "onnxruntime 1.31.1", "SIGILL")
    assert second.state == "ok"
    assert tried.working == ["litert"]


def test_the_way_out_of_tflite_runtime_under_numpy_2_is_another_numpy() -> None:
    tried = trials(TFLITE, {"tflite-runtime": "SystemError: <class 'numpy.uint8'> returned"})
    finding = the_only(tried.look())
    assert_bad(finding, "fail", "tflite-runtime 2.14.0", "SystemError")
    assert "numpy<2" in str(finding.way_out)


@pytest.mark.parametrize(
    ("package", "runtime", "reinstall"),
    [
        ("onnxruntime", "onnxruntime", "--force-reinstall 'isthmus[edge]'"),
        ("onnxruntime-gpu", "onnxruntime", "--force-reinstall onnxruntime-gpu"),
        ("ai-edge-litert", "litert", "--force-reinstall 'isthmus[edge-litert]'"),
        ("tflite-runtime", "tflite-runtime", "--force-reinstall 'isthmus[edge-tflite]'"),
    ],
)
def test_the_way_out_of_a_crash_names_the_package_that_is_installed(
    package: str, runtime: str, reinstall: str
) -> None:
    """The extra of ONNX Runtime would put a second wheel over that for GPUs."""
    installed = {package: "1.0", "numpy": "1.26.4"}
    finding = the_only(trials(installed, {runtime: "it crashed (SIGSEGV)"}).look())
    mend = f"pip install {reinstall}, or remove it: pip uninstall {package}"
    assert finding.way_out == mend
    wrong = the_only(trials(installed, {runtime: trial(agreement=0.3)}).look())
    assert str(wrong.way_out).endswith(f"pip install --upgrade {package}")


BROKEN = {
    "cannot be imported": ("raise ImportError('libwrong.so: no such file')", "libwrong.so"),
    "crashes the process": ("import os; os.kill(os.getpid(), 11)", "it crashed (SIGSEGV)"),
    "dies when it is used": (
        "def Interpreter(**_): raise SystemError('numpy.core.multiarray failed')",
        "numpy.core.multiarray failed",
    ),
    "runs out of memory": ("import os; os.kill(os.getpid(), 9)", "want of memory"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_real_child_that_dies_is_a_failure_and_the_doctor_lives(
    fault: str, tmp_path: Path
) -> None:
    """A stand-in for tflite-runtime that is found before the real one."""
    source, said = BROKEN[fault]
    package, record = tmp_path / "tflite_runtime", tmp_path / "tflite_runtime-2.14.0.dist-info"
    package.mkdir()
    record.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(f"{source}\n", encoding="utf-8")
    metadata = "Metadata-Version: 2.1\nName: tflite-runtime\nVersion: 2.14.0\n"
    (record / "METADATA").write_text(metadata, encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    child = Child(environment={"PYTHONPATH": path})
    tried = RuntimeTrials(child=child, version_of=TFLITE.get)
    assert_bad(the_only(tried.look()), "fail", "tflite-runtime", said)


def test_a_child_that_hangs_is_ended() -> None:
    tried = RuntimeTrials(child=Child(longest_s=0.001), version_of=ORT.get)
    assert_bad(the_only(tried.look()), "fail", "no answer within 0.001 s")
