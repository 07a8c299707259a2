"""What is simulated: the devices of a cell, their links, and what serves them."""

from dataclasses import dataclass, field

from isthmus_bench.serve.tally import percentile
from isthmus_bench.traces import Trace
from isthmus_cloud.engines.batch_times import BatchTimes

__all__ = ["CellPlan", "CellResult", "Devices", "Service"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """`front_ends`, and `replicas` that all of them share; or, where not `shared`, as many as front
    ends, each with its own.

    A batch of n frames, at most `most`, takes a replica `times.ms(n)`; it runs one at a time, in
    the order in which they come. A front end has at most `calls` times as many calls under way as
    there are replicas, and takes what waits as soon as there is room; a call goes to the replica
    that has the fewest of this front end. Each frame costs it `front_end_ms` of its one processor.
    One frame, from the device until its answer is there, takes one of `base_ms` besides; a call one
    of `hop_ms`. A frame beyond `most_waiting` at a front end is refused.
    """

    times: BatchTimes
    most: int = 1
    front_ends: int = 1
    replicas: int = 1
    shared: bool = True
    calls: int = 2
    front_end_ms: float = 0.0
    base_ms: tuple[float, ...] = (0.0,)
    hop_ms: tuple[float, ...] = (0.0,)
    most_waiting: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """`count` of them, spread evenly over the front ends, each of which sends `fps` frames/s of
    `payload_bytes`, up to `window` at a time: what is due beyond that is not sent.

    Each frame is due up to `jitter_ms` after its time. `phases_s` are the times of the first ones,
    by chance where there are none. A device's link is one of `links`, from a place of it by chance
    on; without any, frames arrive as they are sent. A frame that was not begun `deadline_ms` after
    it arrived is refused.
    """

    count: int
    fps: float
    payload_bytes: int = 0
    window: int = 8
    jitter_ms: float = 0.0
    phases_s: tuple[float, ...] = ()
    links: tuple[Trace, ...] = ()
    deadline_ms: float = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan:
    """`devices` send for `seconds`, of which the first `warm_s` do not count in latencies; whatever
    is by chance comes from `seed`."""

    service: Service
    devices: Devices
    seconds: float
    warm_s: float = 0.0
    seed: int = 1


@dataclass(slots=True)
class CellResult:
    """What became of the frames: of those that were `due`, some were `unsent`; the others were
    `answered` or `refused`.

    Latencies in ms are those of answered frames that were due after the warm-up: `cloud_ms` from
    the arrival at the front end, `end_ms` from when they were due. `batches` by size; a replica was
    busy for `busy_share` of the time in which devices sent, in the mean.
    """

    due: int = 0
    unsent: int = 0
    refused: int = 0
    answered: int = 0
    cloud_ms: list[float] = field(default_factory=list)
    end_ms: list[float] = field(default_factory=list)
    batches: dict[int, int] = field(default_factory=dict)
    busy_share: float = 0.0

    def cloud_percentile(self, share: float) -> float | None:
        """Of the cloud's part; None where nothing was answered."""
        return percentile(sorted(self.cloud_ms), share)

    def end_percentile(self, share: float) -> float | None:
        """Of the whole way; None where nothing was answered."""
        return percentile(sorted(self.end_ms), share)

    @property
    def mean_batch(self) -> float:
        """Frames of a batch; 0 where none was run."""
        count = sum(self.batches.values())
        return sum(size * times for size, times in self.batches.items()) / max(1, count)
