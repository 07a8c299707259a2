"""Which runtime runs which chain: the one that the plan measured as fastest, or the one asked for.

"auto" takes for each segment the first that can run it: the chain's own, then the others. An
explicit choice runs all of what it can and nothing else runs: what it cannot run is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from isthmus import Candidate, Chain, ConfigError, Manifest, ModelError, Segment
from isthmus_edge.runtimes.installed import EXTRAS, FoundRuntime, found_runtimes
from isthmus_edge.runtimes.seam import GraphFiles, Runtime, RuntimeName

RuntimeChoice = Literal["auto", "onnxruntime", "litert", "tflite-runtime"]

__all__ = ["RuntimeChoice", "Runtimes", "refusals", "without_chains"]


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
        runtimes = self._preferred(chain.runtime)
        able = tuple(runtime for runtime in runtimes if runtime.refusal(files) is None)
        if able:
            return able
        reasons = "; ".join(f"{each.name}: {each.refusal(files)}" for each in runtimes)
        if self.choice == "auto":
            way_out = f"install ONNX Runtime (pip install '{EXTRAS['onnxruntime']}')"
        else:
            way_out = 'leave the choice to Isthmus (--runtime auto, runtime = "auto")'
        raise ModelError(f"chain {chain.id!r} cannot run here ({reasons}); {way_out}")

    def refusal(self, folder: Path, chain: Chain) -> str | None:
        """Why a chain cannot run here; None where it can."""
        try:
            for segment in chain.segments:
                self.of(folder, chain, segment)
        except ModelError as error:
            return str(error)
        return None

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
