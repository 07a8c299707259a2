"""What an extra of the device costs before a model is loaded: megabytes on disk, time to import.

Each extra goes into a fresh environment, from this checkout's sources as a wheel, as a user would
install it: not editable, without byte code (Python writes that later). Sizes are those of the
files, MB are 10^6 bytes. Times are processor time of a fresh interpreter whose files are in memory:
what a user waits on an idle board, and repeatable on a busy one.
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
from statistics import median

from isthmus import IsthmusError

__all__ = [
    "EXTRAS",
    "EdgeExtra",
    "Import",
    "Install",
    "InstallError",
    "PackageSize",
    "import_ms",
    "install_of",
    "installs",
    "package_sizes",
]

INSTALL_S = 600.0
IMPORT_S = 120.0
# Of the environment itself; a board may do without them.
_INSTALLERS = frozenset({"pip", "setuptools", "wheel"})
_TIMED = """
import sys, time
begun_s = time.process_time()
for name in sys.argv[1:]:
    __import__(name)
print(1e3 * (time.process_time() - begun_s))
"""


class InstallError(IsthmusError):
    """An extra could not be installed or imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeExtra:
    """An extra, the runtime that it brings, and the module that an agent imports of it."""

    name: str
    runtime: str
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
class Import:
    """Medians over fresh interpreters, ms: of the device's room, and with the runtime behind it."""

    edge_ms: float
    with_runtime_ms: float
    bare_ms: float  # Python's own start, which the others do not hold


@dataclass(frozen=True, slots=True)
class Install:
    """One extra in an environment of its own.

    `install_mb` is all beyond Python, `with_pip_mb` with the installers of a new environment as
    well. `runtime_mb` is the part of the runtime's own package. `packages` are the largest first.
    """

    extra: str
    runtime: str
    install_mb: float
    with_pip_mb: float
    runtime_mb: float
    times: Import
    packages: tuple[PackageSize, ...]


def installs(
    checkout: Path, folder: Path, *, repeats: int = 7, extras: Sequence[EdgeExtra] = EXTRAS
) -> list[Install]:
    """Each extra that this Python can have, one after the other.

    `folder` (created if need be) takes the environments, 0.2 GB each; they stay there. Raises
    InstallError where one cannot be installed or imported.
    """
    wheel = _wheel(checkout, folder)
    return [
        _measured(extra, wheel, folder, repeats)
        for extra in extras
        if extra.newest_python is None or sys.version_info[:2] <= extra.newest_python
    ]


def install_of(extra: EdgeExtra, found: Sequence[PackageSize], times: Import) -> Install:
    """The figures of one extra, from what was found where it was installed."""
    own = tuple(each for each in found if each.name not in _INSTALLERS)
    return Install(
        extra=extra.name,
        runtime=extra.runtime,
        install_mb=_total(own),
        with_pip_mb=_total(found),
        runtime_mb=_total([each for each in own if each.name == extra.package]),
        times=times,
        packages=own,
    )


def package_sizes(site: Path) -> list[PackageSize]:
    """Each package in `site` with the files that it lists and that are there, largest first."""
    sizes = [
        PackageSize(_plain(each.name), each.version, _files_bytes(each) / 1e6)
        for each in distributions(path=[str(site)])
    ]
    return sorted(sizes, key=lambda size: (-size.size_mb, size.name))


def import_ms(python: Path, modules: Sequence[str], repeats: int) -> float:
    """Median processor time to import the modules in a fresh interpreter.

    A first one is not counted: it brings the files into memory and writes byte code.
    """
    times = [float(_said(python, _TIMED, *modules)) for _ in range(repeats + 1)]
    return median(times[1:])


def _measured(extra: EdgeExtra, wheel: Path, folder: Path, repeats: int) -> Install:
    place = folder / extra.name
    venv.create(place, clear=True, with_pip=True)
    python = place / "bin" / "python"
    _run([*_installer(python), f"{wheel}[{extra.name}]"], f"isthmus[{extra.name}]")
    site = Path(_said(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    found = package_sizes(site)  # before any import: that writes byte code
    if not any(each.name == extra.package for each in found):
        raise InstallError(
            f"isthmus[{extra.name}] brought no {extra.package}; see the extras of pyproject.toml"
        )
    times = Import(
        edge_ms=import_ms(python, ["isthmus_edge"], repeats),
        with_runtime_ms=import_ms(python, ["isthmus_edge", extra.module], repeats),
        bare_ms=_start_ms(python, repeats),
    )
    return install_of(extra, found, times)


def _start_ms(python: Path, repeats: int) -> float:
    """Python's own start, in processor time."""
    program = "import time; print(1e3 * time.process_time())"
    return median(float(_said(python, program)) for _ in range(repeats))


def _wheel(checkout: Path, folder: Path) -> Path:
    """The checkout as a wheel in `folder`."""
    wheels = folder / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    _run([*command, str(wheels), str(checkout)], f"the wheel of {checkout}")
    return next(wheels.glob("*.whl"))


def _installer(python: Path) -> list[str]:
    """uv where it is there, for it is much faster; else pip."""
    uv = Path(sys.prefix) / "bin" / "uv"
    if uv.exists():
        return [
            str(uv), "pip", "install", "--quiet", "--system-certs", "--link-mode", "copy",
            "--no-compile-bytecode", "--python", str(python),
        ]  # fmt: skip
    return [str(python), "-m", "pip", "install", "--quiet", "--no-compile"]


def _said(python: Path, program: str, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name[:6] != "PYTHON"}
    return _run([str(python), "-c", program, *arguments], "importing", IMPORT_S, environment)


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
