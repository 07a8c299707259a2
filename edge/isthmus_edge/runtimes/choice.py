"""Which runtime runs which chain: the one that the plan measured as fastest, or the one asked for.

"auto" takes for each segment the first that can run it: the chain's own, then the others, but none
that the plan found unfit. An explicit choice runs all of what it can and nothing else runs: what it
cannot run is refused. What is not needed is not imported.
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
        if not self.installed:
            raise self._nothing()

    @property
    def installed(self) -> tuple[FoundRuntime, ...]:
        """Those that may be used, in the order of preference; none is imported for it."""
        return tuple(each for each in self._allowed if each.version is not None)

    @property
    def usable(self) -> tuple[Runtime, ...]:
        """Those of them that work, all imported; ConfigError if none does."""
        usable = tuple(each.runtime for each in self.installed if each.runtime is not None)
        if not usable:
            raise self._nothing()
        return usable

    def names(self, folder: Path, chain: Chain, segment: Segment) -> tuple[RuntimeName, ...]:
        """Whom `of` may give if all that is installed works; none is imported for it."""
        files = GraphFiles.of(folder, segment)
        return tuple(
            found.name
            for found in self._preferred(chain.runtime)
            if self._problem(found, files, chain) is None
        )

    def of(self, folder: Path, chain: Chain, segment: Segment) -> Iterator[Runtime]:
        """Those for a segment of a chain, the preferred first; ModelError says why there is none.

        Each is imported when its turn comes. An older version may fail to load a file that has the
        right form: then the next one is asked for.
        """
        files = GraphFiles.of(folder, segment)
        reasons: list[str] = []
        unfit: list[RuntimeName] = []
        preferred = self._preferred(chain.runtime)
        for found in preferred:
            problem = self._problem(found, files, chain)
            reason = found.problem if problem is None else f"{found.name}: {problem}"
            if reason is None:
                yield found.ready()
                continue
            reasons.append(reason)
            if problem == _UNFIT:
                unfit.append(found.name)
        if len(reasons) == len(preferred):
            way_out = self._way_out(chain, unfit)
            raise ModelError(
                f"chain {chain.id!r} cannot run here ({'; '.join(reasons)}); {way_out}"
            )

    def refusal(self, folder: Path, chain: Chain) -> str | None:
        """Why a chain cannot run here; None where it can."""
        try:
            for segment in chain.segments:
                next(self.of(folder, chain, segment))
        except ModelError as error:
            return str(error)
        return None

    def departure(self, folder: Path, chain: Chain) -> str | None:
        """What people should know of a chain that runs here otherwise than the plan has it."""
        firsts = (next(self.of(folder, chain, segment)) for segment in chain.segments)
        names = tuple(dict.fromkeys(runtime.name for runtime in firsts))
        runs = " and ".join(names)
        if any(name in chain.unfit for name in names):
            return f"chain {chain.id!r}: {runs} runs it, as was asked for, although {_UNFIT}"
        if self.choice != "auto" or chain.runtime in names:
            return None
        problems = (each.problem for each in self.found if each.name == chain.runtime)
        problem = next(problems, f"pip install '{EXTRAS[chain.runtime]}'")
        if problem is None:
            return None
        return (
            f"chain {chain.id!r}: the plan's {chain.runtime} is not here, {runs} runs it: the "
            f"times of the plan are not those of this device ({problem})"
        )

    @property
    def _allowed(self) -> Sequence[FoundRuntime]:
        return [each for each in self.found if self.choice in {"auto", each.name}]

    def _nothing(self) -> ConfigError:
        problems = "; ".join(each.problem for each in self._allowed if each.problem is not None)
        what = "no runtime for heads" if self.choice == "auto" else f"runtime {self.choice!r}"
        return ConfigError(f"{what}: {problems}")

    def _problem(self, found: FoundRuntime, files: GraphFiles, chain: Chain) -> str | None:
        """What is against it, as far as that can be said without importing it."""
        problem = files.refused_by(found.name)
        if self.choice != "auto" or found.name not in chain.unfit:
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

    def _preferred(self, first: RuntimeName) -> Sequence[FoundRuntime]:
        return sorted(self.installed, key=lambda found: found.name != first)


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
