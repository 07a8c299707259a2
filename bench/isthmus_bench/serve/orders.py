"""What the bench asks of the processes that load and that time, and what these say."""

from typing import Literal

import msgspec

__all__ = ["Load", "Offered", "Order", "Protocol", "Times", "TimesOrder"]

Protocol = Literal["split", "bare", "oip"]


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """A load of simulated devices.

    With `fps` 0 each of `devices` keeps `window` frames under way, else it sends so many a second,
    at a phase of `seed`, whatever is answered. Of `seconds` the first `warm_s` count for nothing
    but `lost`. `fingerprint` is the bundle's.
    """

    fingerprint: str = ""
    devices: int = 1
    window: int = 1
    fps: float = 0.0
    seconds: float = 1.0
    warm_s: float = 0.0
    seed: int = 0


class Order(Offered, frozen=True, kw_only=True):
    """One thing to do with simulated devices at `address`.

    "load": they send the frames of `cases` (files of recorded frames; the devices take turns among
    them). "idle": connect, send nothing, beat; the reply comes when every device has heard some
    echoes. "echo": until every one has heard some more. "part": disconnect them. `pid` is the
    server's, whose processor time is read.
    """

    do: Literal["load", "idle", "echo", "part"]
    protocol: Protocol = "split"
    address: str = ""
    pid: int = 0
    cases: tuple[str, ...] = ()
    model: str = ""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How a load was borne.

    `accepted` frames were sent; each was `answered`, ended in one of `errors` (by code), or is
    `lost`. `unsent` ones were due, but the devices had no room in their windows to the end.
    `wrong` answers were another frame's. Latencies are those of all frames that were due after the
    warm-up; a frame with an error, unsent or lost has an infinite one: None where that is the
    percentile. `server_cpu_ms` and `engine_ms` are for one answer: processor time of the service's
    processes, and of the engine what the service reports (the time that a batch took, divided by
    the frames in it). `queue_ms`, `decode_ms`, `run_ms` are medians of what it reports, `batch`
    the mean of its batch sizes; None of a server that reports nothing.
    """

    accepted: int
    answered: int
    errors: dict[str, int]
    lost: int
    unsent: int
    wrong: int
    answers_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    server_cpu_ms: float | None
    client_cpu_ms: float | None
    engine_ms: float | None = None
    queue_ms: float | None = None
    decode_ms: float | None = None
    run_ms: float | None = None
    batch: float | None = None


class TimesOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Run a tail (a file of a `TailSpec`) on recorded frames, `runs` times at each batch size."""

    do: Literal["times"] = "times"
    spec: str
    case: str
    sizes: tuple[int, ...]
    threads: int
    runs: int


class Times(msgspec.Struct, frozen=True):
    """Median ms of a batch, by its size: all parts one after the other, and as one graph."""

    parts_ms: dict[int, float]
    whole_ms: dict[int, float]
