"""The cloud's side of a bundle: tails as files, whether they batch, and what they take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from isthmus_partitioner.config import Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.tails import OpenTail, TailCut, write_tails
from isthmus_partitioner.parts.timing import time_runs
from isthmus_partitioner.parts.together import frames_of, some_items, why_apart
from isthmus_partitioner.runtime import all_cores, open_session
from isthmus_partitioner.samples import SampleSets

__all__ = ["CloudSide", "write_cloud_side"]


@dataclass(frozen=True, slots=True)
class CloudSide:
    """What the cloud runs: by cut, the files of its tail in order, and their time for one item.

    `unbatched` says why frames are run one by one; it is empty where they can go together.
    """

    files: Mapping[str, tuple[str, ...]]
    tail_ms: Mapping[str, float]
    unbatched: str

    @property
    def batched(self) -> bool:
        """Whether all graphs take any number of items."""
        return not self.unbatched


def write_cloud_side(
    network: Network,
    cuts: Sequence[TailCut],
    sets: SampleSets,
    folder: Path,
    progress: Progress,
) -> CloudSide:
    """Write entries and parts as `cloud/*.onnx` below `folder`, try them in batches, time them.

    ModelError if the runtime takes a cut's tail in no form.
    """
    progress(f"dividing the cloud's network for {len(cuts)} cuts")
    frames = frames_of(network, cuts, some_items((sets.held_back, sets.fitted)))
    unbatched = network.why_single
    if not unbatched:
        files = write_tails(network, cuts, folder)
        tails = _opened(files, folder)
        unbatched = why_apart(network, cuts, tails, frames)
    if unbatched:
        progress(f"the cloud will run frames one by one: {unbatched}")
        files = write_tails(replace(network, batches=False), cuts, folder)
        tails = _opened(files, folder)
    tail_ms = time_runs({n: partial(tail.run, frames[n][0]) for n, tail in tails.items()})
    return CloudSide(files, tail_ms, unbatched)


def _opened(files: Mapping[str, Sequence[str]], folder: Path) -> dict[str, OpenTail]:
    """By cut; a part that several tails share is loaded once."""
    there = {file for tail in files.values() for file in tail}
    sessions = {file: open_session(folder / file, threads=all_cores()) for file in sorted(there)}
    return {name: OpenTail(tail, sessions) for name, tail in files.items()}
