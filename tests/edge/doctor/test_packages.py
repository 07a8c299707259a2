"""What the doctor says of Python and its packages."""

from tests.edge.doctor.machine import assert_bad

from isthmus_edge.doctor.finding import Finding
from isthmus_edge.doctor.packages import Packages, leading_numbers

GOOD = {"numpy": "2.4.6", "grpcio": "1.85.1", "onnxruntime": "1.31.1"}
NEEDED = ["numpy>=1.26", "grpcio>=1.73.1", "onnx>=1.17; extra == 'partitioner'"]


def look(installed: dict[str, str], python: tuple[int, ...] = (3, 11, 7)) -> list[Finding]:
    packages = Packages(
        version_of=installed.get, requirements=lambda: NEEDED, python=python, bits=64
    )
    return list(packages.look())


def bad(findings: list[Finding]) -> Finding:
    (finding,) = (each for each in findings if each.state != "ok")
    return finding


def test_packages_that_fit_are_fine() -> None:
    assert [finding.state for finding in look(GOOD)] == ["ok", "ok"]


def test_tflite_runtime_under_numpy_2_is_found() -> None:
    finding = bad(look(GOOD | {"tflite-runtime": "2.14.0"}))
    assert_bad(finding, "fail", "tflite-runtime 2.14.0", "numpy 2.4.6")
    assert "numpy<2" in str(finding.way_out)


def test_tflite_runtime_under_numpy_1_is_fine() -> None:
    findings = look(GOOD | {"tflite-runtime": "2.14.0", "numpy": "1.26.4"})
    assert {finding.state for finding in findings} == {"ok"}


def test_two_wheels_of_one_module_are_found() -> None:
    finding = bad(look(GOOD | {"onnxruntime-gpu": "1.31.1"}))
    assert_bad(finding, "fail", "onnxruntime-gpu", "overwrite")


def test_an_old_and_a_missing_package_are_named_with_what_is_needed() -> None:
    assert_bad(bad(look({"numpy": "1.9.9"})), "fail", "grpcio is missing", "numpy 1.9.9", "1.26")


def test_a_python_without_wheels_is_named() -> None:
    installed = GOOD | {"tflite-runtime": "2.14.0", "numpy": "1.26.4"}
    assert_bad(bad(look(installed, (3, 12, 1))), "warn", "no wheels")


def test_a_version_is_compared_by_its_numbers() -> None:
    assert leading_numbers("2.14.0rc1") == (2, 14, 0)
    assert leading_numbers("1.9") < leading_numbers("1.26")
    assert leading_numbers("unknown") == ()


def test_what_this_environment_has_fits() -> None:
    assert {finding.state for finding in Packages().look()} <= {"ok", "warn"}
