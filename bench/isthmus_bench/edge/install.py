"""What an extra of the device weighs on disk.

Each extra goes into a fresh environment, from this checkout's sources as a wheel, as a user would
install it: not editable, without byte code (Python writes that later). Sizes are those of the
files, MB are 10^6 bytes.
"""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from isthmus import IsthmusError, RuntimeName

__all__ = [
    "EXTRAS",
    "EdgeExtra",
    "Install",
    "InstallError",
    "PackageSize",
    "install_of",
    "installed",
    "package_sizes",
    "said",
    "wheel_of",
]

INSTALL_S = 600.0
IMPORT_S = 120.0
# Of the environment itself; a board may do without them.
_INSTALLERS = frozenset({"pip", "setuptools", "wheel"})


class InstallError(IsthmusError):
    """An extra could not be installed or imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeExtra:
    """An extra, the runtime that it brings, and the module that an agent imports of it."""

    name: str
    runtime: RuntimeName
    package: str
    module: str
    newest_python: tuple[int, int] | None = None


EXTRAS = (
    EdgeExtra(name="edge", runtime="onnxruntime", package="onnxruntime", module="onnxruntime"),
    EdgeExtra(
        name="edge-litert",
        runtime="litert",
        package="ai-edge-litert",
        module="ai_edge_litert.interpreter",
    ),
    EdgeExtra(
        name="edge-tflite",
        runtime="tflite-runtime",
        package="tflite-runtime",
        module="tflite_runtime.interpreter",
        newest_python=(3, 11),
    ),
)


@dataclass(frozen=True, slots=True)
class PackageSize:
    """One package with all its files, in MB."""

    name: str
    version: str
    size_mb: float


@dataclass(frozen=True, slots=True)
class Install:
    """One extra in an environment of its own, whose interpreter is `python`.

    `install_mb` is all beyond Python, `with_pip_mb` with the installers of a new environment as
    well. `runtime_mb` is the part of the runtime's own package. `packages` are the largest first.
    """

    extra: EdgeExtra
    python: Path
    install_mb: float
    with_pip_mb: float
    runtime_mb: float
    packages: tuple[PackageSize, ...]


def installed(extra: EdgeExtra, wheel: Path, folder: Path) -> Install | None:
    """The extra in a fresh environment below `folder`; None if this Python cannot have it.

    The environment takes 0.2 GB and stays there. InstallError where it cannot be made.
    """
    if extra.newest_python is not None and sys.version_info[:2] > extra.newest_python:
        return None
    place = folder / extra.name
    try:
        venv.create(place, clear=True, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InstallError(
            f"no environment at {place}: {error}; is there room, and Python's venv module?"
        ) from error
    python = place / "bin" / "python"
    _run([*_installer(python), f"{wheel}[{extra.name}]"], f"isthmus[{extra.name}]")
    site = Path(said(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    found = package_sizes(site)  # before any import: that writes byte code
    if not any(each.name == extra.package for each in found):
        raise InstallError(
            f"isthmus[{extra.name}] brought no {extra.package}; see the extras of pyproject.toml"
        )
    return install_of(extra, python, found)


def install_of(extra: EdgeExtra, python: Path, found: Sequence[PackageSize]) -> Install:
    """The figures of one extra, from what was found where it was installed."""
    own = tuple(each for each in found if each.name not in _INSTALLERS)
    return Install(
        extra=extra,
        python=python,
        install_mb=_total(own),
        with_pip_mb=_total(found),
        runtime_mb=_total([each for each in own if each.name == extra.package]),
        packages=own,
    )


def package_sizes(site: Path) -> list[PackageSize]:
    """Each package in `site` with the files that it lists and that are there, largest first."""
    sizes = [
        PackageSize(_plain(each.name), each.version, _files_bytes(each) / 1e6)
        for each in distributions(path=[str(site)])
    ]
    return sorted(sizes, key=lambda size: (-size.size_mb, size.name))


def wheel_of(checkout: Path, folder: Path) -> Path:
    """The checkout as a wheel in `folder`; InstallError if it is none."""
    wheels = folder / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    _run([*command, str(wheels), str(checkout)], f"the wheel of {checkout}")
    return next(wheels.glob("*.whl"))


def said(python: Path, program: str, *arguments: str) -> str:
    """What a program prints in a fresh interpreter; InstallError where it fails."""
    environment = {name: value for name, value in os.environ.items() if name[:6] != "PYTHON"}
    return _run([str(python), "-c", program, *arguments], "importing", IMPORT_S, environment)


def _installer(python: Path) -> list[str]:
    """uv where it is there, for it is much faster; else pip."""
    uv = Path(sys.prefix) / "bin" / "uv"
    if uv.exists():
        return [
            str(uv), "pip", "install", "--quiet", "--system-certs", "--link-mode", "copy",
            "--no-compile-bytecode", "--python", str(python),
        ]  # fmt: skip
    return [str(python), "-m", "pip", "install", "--quiet", "--no-compile"]


def _run(
    command: list[str],
    what: str,
    patience_s: float = INSTALL_S,
    environment: dict[str, str] | None = None,
) -> str:
    try:
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=patience_s, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"{what} took more than {patience_s:.0f} s; is the network slow?") from (
            error
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()
        why = said[-1] if said else f"status {error.returncode}"
        raise InstallError(f"{what} failed: {why}") from error
    return ran.stdout.strip()


def _files_bytes(package: Distribution) -> int:
    places = {Path(os.path.normpath(str(package.locate_file(f)))) for f in package.files or ()}
    return sum(place.lstat().st_size for place in places if place.is_file())


def _total(sizes: Sequence[PackageSize]) -> float:
    return sum(size.size_mb for size in sizes)


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
