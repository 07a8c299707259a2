"""Which head runtimes are installed, whether they live, and how fast they are in int8 and fp32.

Each is tried in a process of its own: some crash with the wrong numpy or on the wrong processor.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from isthmus_edge.doctor.child import Asker, Child, ChildError
from isthmus_edge.doctor.finding import Figure, Finding, fail, note, warn
from isthmus_edge.doctor.packages import installed_version, leading_numbers
from isthmus_edge.doctor.trial import Trial
from isthmus_edge.runtimes import EXTRAS, PACKAGES, RUNTIME_NAMES, RuntimeName

ROUNDS, QUICK_ROUNDS = 8, 1
_LEAST_AGREEMENT = 0.98  # 0.999 where the integers are right
_NOISE = 0.1  # within which two times are called the same

__all__ = ["QUICK_ROUNDS", "ROUNDS", "RuntimeTrials"]


@dataclass(slots=True)
class RuntimeTrials:
    """Tries them once, and remembers which of them work (`working`, after the first look)."""

    child: Asker = field(default_factory=Child)
    rounds: int = ROUNDS
    version_of: Callable[[str], str | None] = installed_version
    working: list[RuntimeName] | None = None

    def look(self) -> Iterator[Finding]:
        """One finding for each that is installed; a failure if there is none."""
        self.working = []
        names = self.installed()
        if not names:
            yield fail(
                "runtimes",
                "no runtime for heads is installed",
                f"pip install '{EXTRAS['onnxruntime']}' (or isthmus[edge-litert]; on a small board "
                "with Python 3.11 isthmus[edge-tflite])",
            )
        for name in names:
            yield self._tried(name)

    def installed(self) -> list[RuntimeName]:
        """By what pip has written down; nothing is imported."""
        return [name for name in RUNTIME_NAMES if self._version(name) is not None]

    def _version(self, name: RuntimeName) -> str | None:
        return self.version_of(self._package(name))

    def _package(self, name: RuntimeName) -> str:
        """What pip calls it, which need not be what Isthmus does."""
        names = PACKAGES[name]
        return next((each for each in names if self.version_of(each) is not None), names[0])

    def _tried(self, name: RuntimeName) -> Finding:
        try:
            trial = self.child.ask(Trial, ["tiny", name, str(self.rounds)])
        except ChildError as error:
            text = f"{name} {self._version(name)} is installed and does not work: {error}"
            return fail("runtimes", text, self._mend(name), runtime=name)
        finding = _judged(name, self._package(name), trial)
        if finding.state != "fail":
            assert self.working is not None  # `look` has begun
            self.working.append(name)
        return finding

    def _mend(self, name: RuntimeName) -> str:
        numpy = self.version_of("numpy") or "0"
        if name == "tflite-runtime" and leading_numbers(numpy) >= (2,):
            return (
                f"it was built for numpy 1 and here is numpy {numpy}: pip install 'numpy<2', or "
                f"use its successor: pip install '{EXTRAS['litert']}'"
            )
        package = self._package(name)
        # The extra would put its own package beside another one of the same module.
        again = f"'{EXTRAS[name]}'" if package == PACKAGES[name][0] else package
        return f"pip install --force-reinstall {again}, or remove it: pip uninstall {package}"


def _judged(name: RuntimeName, package: str, trial: Trial) -> Finding:
    ratio = trial.fp32_ms / trial.int8_ms
    text = (
        f"{name} {trial.version}: imports in {trial.import_ms:.0f} ms; tiny network on one thread "
        f"fp32 {trial.fp32_ms:.2f} ms, int8 {trial.int8_ms:.2f} ms"
    )
    figures: dict[str, Figure] = {
        "runtime": name,
        "version": trial.version,
        "import_ms": round(trial.import_ms, 1),
        "fp32_ms": round(trial.fp32_ms, 4),
        "int8_ms": round(trial.int8_ms, 4),
        "agreement": round(trial.agreement, 5),
    }
    if trial.agreement < _LEAST_AGREEMENT:
        way_out = f"do not use int8 on it; pip install --upgrade {package}"
        wrong = f"{text}; int8 computes something else (cosine {trial.agreement:.3f})"
        return fail("runtimes", wrong, way_out, **figures)
    if ratio < 1 - _NOISE:
        return warn(
            "runtimes",
            f"{text}: int8 is {1 / ratio:.1f} times slower than fp32",
            "run `isthmus edge profile` here and plan with it: heads then stay fp32 where that is "
            "faster",
            **figures,
        )
    how = "about the same" if ratio < 1 + _NOISE else f"{ratio:.1f} times faster"
    return note("runtimes", f"{text} ({how})", **figures)
