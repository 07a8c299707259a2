"""Which runtime runs which chain: the one that the plan measured as fastest, or the one asked for.

"auto" takes for each segment the first that can run it: the chain's own, then the others, but none
that the plan found unfit. An explicit choice runs all of what it can and nothing else runs: what it
cannot run is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from isthmus import Candidate, Chain, ConfigError, Manifest, ModelError, Segment
from isthmus_edge.runtimes.installed import EXTRAS, FoundRuntime, found_runtimes
from isthmus_edge.runtimes.seam import GraphFiles, Runtime, RuntimeName

RuntimeChoice = Literal["auto", "onnxruntime", "litert", "tflite-runtime"]

_UNFIT = "the plan found that its answers are not those of its figures"

__all__ = ["RuntimeChoice", "Runtimes", "departures", "refusals", "without_chains"]


@dataclass(frozen=True, slots=True)
class Runtimes:
    """The runtimes that may be used here; `found` are all that Isthmus knows."""

    choice: RuntimeChoice = "auto"
    found: Sequence[FoundRuntime] = field(default_factory=found_runtimes)

    def __post_init__(self) -> None:
        if not self.usable:
            problems = "; ".join(
                found.problem
                for found in self.found
                if found.problem is not None and self.choice in {"auto", found.name}
            )
            what = "no runtime for heads" if self.choice == "auto" else f"runtime {self.choice!r}"
            raise ConfigError(f"{what}: {problems}")

    @property
    def usable(self) -> tuple[Runtime, ...]:
        """Those that may be used, in the order of preference."""
        return tuple(
            found.runtime
            for found in self.found
            if found.runtime is not None and self.choice in {"auto", found.name}
        )

    def of(self, folder: Path, chain: Chain, segment: Segment) -> tuple[Runtime, ...]:
        """Those for a segment of a chain, the preferred first; ModelError says why there is none.

        An older version may fail to load a file that has the right form: then the next one's turn
        comes.
        """
        files = GraphFiles.of(folder, segment)
        problems = [(r, self._problem(r, files, chain)) for r in self._preferred(chain.runtime)]
        able = tuple(runtime for runtime, problem in problems if problem is None)
        if able:
            return able
        reasons = "; ".join(f"{runtime.name}: {problem}" for runtime, problem in problems)
        unfit = [runtime.name for runtime, problem in problems if problem == _UNFIT]
        way_out = self._way_out(chain, unfit)
        raise ModelError(f"chain {chain.id!r} cannot run here ({reasons}); {way_out}")

    def refusal(self, folder: Path, chain: Chain) -> str | None:
        """Why a chain cannot run here; None where it can."""
        try:
            for segment in chain.segments:
                self.of(folder, chain, segment)
        except ModelError as error:
            return str(error)
        return None

    def departure(self, folder: Path, chain: Chain) -> str | None:
        """What people should know of a chain that runs here otherwise than the plan has it."""
        names = tuple(dict.fromkeys(self.of(folder, chain, s)[0].name for s in chain.segments))
        runs = " and ".join(names)
        if any(name in chain.unfit for name in names):
            return f"chain {chain.id!r}: {runs} runs it, as was asked for, although {_UNFIT}"
        if self.choice != "auto" or any(each.name == chain.runtime for each in self.usable):
            return None
        problems = (each.problem for each in self.found if each.name == chain.runtime)
        problem = next(problems, None) or f"pip install '{EXTRAS[chain.runtime]}'"
        return (
            f"chain {chain.id!r}: the plan's {chain.runtime} is not here, {runs} runs it: the "
            f"times of the plan are not those of this device ({problem})"
        )

    def _problem(self, runtime: Runtime, files: GraphFiles, chain: Chain) -> str | None:
        problem = runtime.refusal(files)
        if self.choice != "auto" or runtime.name not in chain.unfit:
            return problem
        return _UNFIT if problem is None else f"{problem}, and {_UNFIT}"

    def _way_out(self, chain: Chain, unfit: Sequence[RuntimeName]) -> str:
        if self.choice != "auto":
            return 'leave the choice to Isthmus (--runtime auto, runtime = "auto")'
        if not unfit:
            return f"install ONNX Runtime (pip install '{EXTRAS['onnxruntime']}')"
        return (
            f"install {chain.runtime}, which the plan chose (pip install "
            f"'{EXTRAS[chain.runtime]}'), or insist (--runtime {unfit[0]})"
        )

    def _preferred(self, first: RuntimeName) -> Sequence[Runtime]:
        return sorted(self.usable, key=lambda runtime: runtime.name != first)


def refusals(manifest: Manifest, folder: Path, runtimes: Runtimes) -> dict[str, str]:
    """Why some chains cannot run here, by id; ModelError if that of `local` is one."""
    refused = {
        chain.id: problem
        for chain in manifest.chains
        if (problem := runtimes.refusal(folder, chain)) is not None
    }
    local = manifest.cut_of(manifest.local).chain
    if local in refused:
        raise ModelError(refused[local])
    return refused


def departures(manifest: Manifest, folder: Path, runtimes: Runtimes) -> Iterator[str]:
    """A sentence for each chain in use that runs here otherwise than the plan has it."""
    used = {manifest.cut_of(candidate).chain for candidate in (manifest.local, *manifest.kept)}
    for chain in manifest.chains:
        if chain.id in used and runtimes.refusal(folder, chain) is None:
            text = runtimes.departure(folder, chain)
            if text is not None:
                yield text


def without_chains(manifest: Manifest, refused: Mapping[str, str]) -> Manifest:
    """The plan without the candidates of some chains, each with the reason why it has to go."""
    if not refused:
        return manifest
    return msgspec.structs.replace(
        manifest, candidates=tuple(_without(c, manifest, refused) for c in manifest.candidates)
    )


def _without(candidate: Candidate, manifest: Manifest, refused: Mapping[str, str]) -> Candidate:
    problem = refused.get(manifest.cut_of(candidate).chain)
    if problem is None or not candidate.kept:
        return candidate
    return msgspec.structs.replace(candidate, kept=False, reason=problem)
