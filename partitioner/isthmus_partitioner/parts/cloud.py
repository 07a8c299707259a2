"""The cloud's side of a bundle: tails as files, whether they batch, what dividing them costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from isthmus_partitioner.config import Progress
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.tails import OpenTail, TailCut, write_tails
from isthmus_partitioner.parts.timing import time_runs
from isthmus_partitioner.parts.together import Frames, why_apart
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session

__all__ = ["CloudSide", "cost_of_parts", "write_cloud_side"]


@dataclass(frozen=True, slots=True)
class CloudSide:
    """What the cloud runs: by cut, the files of its tail in order.

    `unbatched` says why frames are run one by one; it is empty where they can go together. `ratios`
    are, by cut, the time of its tail over that of the same in one graph.
    """

    files: Mapping[str, tuple[str, ...]]
    unbatched: str
    ratios: Mapping[str, float] = field(default_factory=dict)

    @property
    def batched(self) -> bool:
        """Whether all graphs take any number of items."""
        return not self.unbatched


def write_cloud_side(
    network: Network, cuts: Sequence[TailCut], frames: Frames, folder: Path, progress: Progress
) -> CloudSide:
    """Write entries and parts as `cloud/*.onnx` below `folder`, and try them with batches.

    `frames` holds what goes together. ModelError if the runtime takes a cut's tail in no form.
    """
    progress(f"dividing the cloud's network for {len(cuts)} cuts")
    unbatched = network.why_single
    if not unbatched:
        files = write_tails(network, cuts, folder)
        unbatched = why_apart(network, cuts, _opened(files, folder), frames)
    if unbatched:
        progress(f"the cloud will run frames one by one: {unbatched}")
        files = write_tails(replace(network, batches=False), cuts, folder)
    return CloudSide(files, unbatched)


def cost_of_parts(
    cloud: CloudSide,
    cuts: Sequence[TailCut],
    wholes: Mapping[str, str],
    frames: Frames,
    folder: Path,
) -> CloudSide:
    """The same with `ratios`: each tail and the same in one graph take turns with a frame.

    `wholes` are the files of those graphs by cut; they read what is fed in the order of the cut's
    tensors. A tail of one graph is that graph.
    """
    divided = [cut for cut in cuts if len(cloud.files[cut.id]) > 1]
    tails = _opened({cut.id: cloud.files[cut.id] for cut in divided}, folder)
    runs: dict[str, Callable[[], object]] = {}
    for cut in divided:
        frame = frames[cut.id][0]
        runs[f"parts {cut.id}"] = partial(tails[cut.id].run, frame)
        runs[f"whole {cut.id}"] = _whole(cut, folder / wholes[cut.id], frame)
    ms = time_runs(runs)
    ratios = {cut.id: ms[f"parts {cut.id}"] / ms[f"whole {cut.id}"] for cut in divided}
    return replace(cloud, ratios={cut.id: 1.0 for cut in cuts} | ratios)


def _whole(cut: TailCut, file: Path, frame: Mapping[str, AnyArray]) -> Callable[[], object]:
    """Runs the undivided tail, whose steps are scalars, with what the divided one is fed."""
    session = open_session(file, threads=all_cores())
    values = []
    for tensor in cut.tensors:
        first, *scales = tensor.feeds
        values += [frame[first], *(frame[name].reshape(()) for name in scales)]
    names = [info.name for info in session.get_inputs()]
    return partial(session.run, None, dict(zip(names, values, strict=True)))


def _opened(files: Mapping[str, Sequence[str]], folder: Path) -> dict[str, OpenTail]:
    """By cut; a part that several tails share is loaded once."""
    there = {file for tail in files.values() for file in tail}
    sessions = {file: open_session(folder / file, threads=all_cores()) for file in sorted(there)}
    return {name: OpenTail(tail, sessions) for name, tail in files.items()}
