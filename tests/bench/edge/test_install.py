"""The sizes of packages are those of their files; what cannot be installed is said so."""

import sys
from pathlib import Path

import pytest

from isthmus_bench.edge.importing import Place, import_times
from isthmus_bench.edge.install import (
    EXTRAS,
    InstallError,
    PackageSize,
    install_of,
    installed,
    package_sizes,
    wheel_of,
)

PYTHON = Path(sys.executable)


def put_package(site: Path, name: str, files: dict[str, int]) -> None:
    """A package as installers leave it: files, and a record that lists them."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    for file, size in files.items():
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_bytes(bytes(size))
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def test_a_package_is_as_large_as_the_files_that_it_lists(tmp_path: Path) -> None:
    put_package(tmp_path, "small", {"small.py": 1_000})
    put_package(tmp_path, "Large_one", {"large/a.so": 2_000_000, "large.libs/b.so": 500_000})
    (tmp_path / "nobodys").write_bytes(bytes(1_000_000))
    assert package_sizes(tmp_path) == [
        PackageSize("large-one", "1.0", 2.5),
        PackageSize("small", "1.0", 0.001),
    ]


def test_a_listed_file_that_is_gone_or_listed_twice_counts_once_or_not(tmp_path: Path) -> None:
    put_package(tmp_path, "one", {"one/a": 1_000_000, "one/../one/a": 1_000_000, "one/b": 5})
    (tmp_path / "one" / "b").unlink()
    (size,) = package_sizes(tmp_path)
    assert size.size_mb == pytest.approx(1.0)


def test_installers_are_told_apart_from_what_was_installed() -> None:
    found = [
        PackageSize("onnxruntime", "1", 70.0),
        PackageSize("numpy", "2", 60.0),
        PackageSize("pip", "3", 15.0),
        PackageSize("setuptools", "4", 5.0),
    ]
    install = install_of(EXTRAS[0], PYTHON, found)
    assert (install.install_mb, install.with_pip_mb, install.runtime_mb) == (130.0, 150.0, 70.0)
    assert [each.name for each in install.packages] == ["onnxruntime", "numpy"]


def test_imports_take_turns_and_what_cannot_be_imported_is_said() -> None:
    places = {"sound": Place(PYTHON, "json"), "broken": Place(PYTHON, "no_such_module_of_ours")}
    times, problems = import_times(places, 2)
    assert times.keys() == {"sound"}
    assert times["sound"].with_runtime_ms.spread is not None
    assert problems.keys() == {"broken"}
    assert "no_such_module_of_ours" in problems["broken"]


def test_what_is_no_checkout_has_no_wheel(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="the wheel of"):
        wheel_of(tmp_path / "nothing", tmp_path / "work")


def test_an_environment_that_cannot_be_made_is_an_error_that_says_where(tmp_path: Path) -> None:
    (tmp_path / "edge").write_text("in the way")
    with pytest.raises(InstallError, match="no environment at"):
        installed(EXTRAS[0], tmp_path / "a.whl", tmp_path)
