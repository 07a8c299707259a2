"""Python and the packages beside Isthmus: versions, and combinations that are known to fail."""

import platform
import re
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version

from isthmus_edge.doctor.finding import Finding, fail, note, warn

_LOWER_BOUND = re.compile(r"^([A-Za-z0-9_.-]+)\s*>=\s*([0-9.]+)\s*$")
_NUMBERS = re.compile(r"\d+(?:\.\d+)*")
_TFLITE_PYTHON = (3, 11)  # the last that tflite-runtime has wheels for

__all__ = ["Packages", "installed_version", "leading_numbers"]


def installed_version(package: str) -> str | None:
    """As pip has written it down, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def leading_numbers(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with: (2, 14, 0) of "2.14.0rc1"."""
    found = _NUMBERS.match(text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def _requirements() -> Sequence[str]:
    return requires("isthmus") or ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """What is installed. `bits` is the size of this Python's addresses."""

    version_of: Callable[[str], str | None] = installed_version
    requirements: Callable[[], Sequence[str]] = _requirements
    python: tuple[int, ...] = field(default_factory=lambda: tuple(sys.version_info[:3]))
    bits: int = struct.calcsize("P") * 8

    def look(self) -> Iterator[Finding]:
        """One line for Python, one for the packages, one for each bad combination."""
        yield self._look_at_python()
        yield from self._look_at_versions()
        yield from self._look_at_pairs()

    def _look_at_python(self) -> Finding:
        text = f"Python {'.'.join(map(str, self.python))}, {self.bits} bits, {platform.system()}"
        if self.bits < 64:
            way_out = "install a 64-bit Python: only tflite-runtime has wheels for 32 bits"
            return warn("packages", text, way_out)
        return note("packages", text, python=".".join(map(str, self.python)), bits=self.bits)

    def _look_at_versions(self) -> Iterator[Finding]:
        bounds = [_LOWER_BOUND.match(line) for line in self.requirements()]
        least = {bound[1]: bound[2] for bound in bounds if bound is not None}
        found = {name: self.version_of(name) for name in least}
        known = {name: have for name, have in found.items() if have is not None}
        missing = [name for name in least if name not in known]
        old = [
            f"{name} {have} (needed is {least[name]})"
            for name, have in known.items()
            if leading_numbers(have) < leading_numbers(least[name])
        ]
        if missing or old:
            what = [f"{name} is missing" for name in missing] + [f"{each} is old" for each in old]
            way_out = "pip install --upgrade isthmus"
            yield fail("packages", ", ".join(what), way_out, **known)
        else:
            text = ", ".join(f"{name} {have}" for name, have in known.items())
            yield note("packages", text or "Isthmus says of no package that it needs it", **known)

    def _look_at_pairs(self) -> Iterator[Finding]:
        tflite, numpy = self.version_of("tflite-runtime"), self.version_of("numpy") or "0"
        if tflite is not None and leading_numbers(numpy) >= (2,):
            yield fail(
                "packages",
                f"tflite-runtime {tflite} with numpy {numpy}: it imports, and its interpreter dies",
                "pip install 'numpy<2', or pip install 'isthmus[edge-litert]'",
            )
        if self.version_of("onnxruntime") and self.version_of("onnxruntime-gpu"):
            yield fail(
                "packages",
                "onnxruntime and onnxruntime-gpu overwrite each other's files",
                "pip uninstall -y onnxruntime onnxruntime-gpu, then install the one you want",
            )
        if tflite is not None and self.python[:2] > _TFLITE_PYTHON:
            yield warn(
                "packages",
                f"tflite-runtime {tflite} has no wheels for this Python",
                "use LiteRT: pip install 'isthmus[edge-litert]'",
            )
