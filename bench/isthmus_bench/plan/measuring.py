"""Runs every way to answer: a cloud and a device as processes, and a shaped link between them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np

from isthmus import Candidate, LinkError, Manifest, TensorSpec, answer_bytes, left_to_answer
from isthmus_bench.plan.cells import Kind, Row, Terms
from isthmus_bench.plan.config import PlanBenchConfig
from isthmus_bench.processes import CloudProcess, EdgeProcess
from isthmus_bench.relay import LinkShape, Relay
from isthmus_edge.link import LinkEstimate
from isthmus_edge.policy.choice import Prediction, Situation, predict
from isthmus_partitioner.parts.timing import PAUSE_S

__all__ = ["Board", "Link", "Way", "measured_rows", "ways_of"]

DEVICE = "isthmus_bench.plan.device"
_WARM_UP = 3
_LEAST_FRAMES = (2, 3)  # of what takes long, of others
_PIPELINED = (2, 4, 64)  # of what takes long, of others at least and at most
_RUNS = 3
_TRIES = 3

Frames = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Link:
    """A link as it is shaped, and as the policy would know it."""

    mbps: float
    rtt_ms: float

    @property
    def estimate(self) -> LinkEstimate:
        """What an agent believes that has learned it well."""
        return LinkEstimate(self.mbps * 1e6, self.rtt_ms)

    @property
    def shape(self) -> LinkShape:
        """For the relay."""
        return LinkShape.symmetric(self.mbps, self.rtt_ms)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to answer; `answer_bytes` come back from the cloud."""

    candidate: Candidate
    kind: Kind
    answer_bytes: int

    @property
    def name(self) -> str:
        """The device knows it by this."""
        return self.candidate.id

    def prediction(self, link: Link) -> Prediction:
        """By the policy's formulas."""
        situation = Situation(link=link.estimate, answer_bytes=self.answer_bytes)
        return predict(self.candidate, situation)

    def predicted(self, link: Link) -> Terms:
        """The latency in terms; all that is neither device nor cloud is the link's."""
        figures = self.candidate.figures
        device_ms, cloud_ms = figures.device_ms, figures.cloud_ms
        wire_ms = self.prediction(link).latency_ms - device_ms - cloud_ms
        return Terms(device_ms, wire_ms, cloud_ms)


def ways_of(
    manifest: Manifest, fp32_wire: Iterable[str], whole: Iterable[Candidate], top_k: int
) -> dict[str, Way]:
    """All candidates of a bundle, and the `whole` network alone on the device, by name."""
    others = set(fp32_wire)
    ways = [
        Way(
            candidate,
            "fp32 wire" if candidate.id in others else _kind(candidate),
            answer_bytes(_outputs(manifest, candidate), top_k),
        )
        for candidate in manifest.candidates
    ]
    ways += [Way(candidate, "edge-only", 0) for candidate in whole]
    return {way.name: way for way in ways}


def _kind(candidate: Candidate) -> Kind:
    if candidate.is_local:
        return "local"
    return "cloud-only" if candidate.precision == "none" else "split"


def _outputs(manifest: Manifest, candidate: Candidate) -> list[TensorSpec]:
    """What the cloud answers."""
    return left_to_answer(manifest.outputs, manifest.cut_of(candidate).answers)


class Board:
    """The imitated board with its cloud behind a link; its processes end with its context.

    `items` is how many the device has, as `flags` say. The board keeps its speed by the `control`,
    which is to take so many ms of this machine's processor; `drifts` are how many times longer it
    took.
    """

    def __init__(
        self,
        flags: Mapping[str, object],
        bundle: Path,
        items: int,
        config: PlanBenchConfig,
        control: tuple[str, float],
    ) -> None:
        self._flags, self._bundle = flags, bundle
        self._items, self._config = items, config
        self._control = control
        self.drifts: list[float] = []

    def __enter__(self) -> Self:
        idle = LinkShape(rtt_ms=self._config.rtt_ms)
        with ExitStack() as stack:
            cloud = stack.enter_context(CloudProcess(self._bundle))
            self._relay = stack.enter_context(Relay(cloud.address, idle))
            flags = {**self._flags, "bundle": self._bundle, "cloud": self._relay.address}
            self._edge = stack.enter_context(EdgeProcess(flags, module=DEVICE))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def warm_up(self, ways: Iterable[Way]) -> float:
        """A few frames of each over a link of any rate; the round trip in ms that was found on it.

        It is a little more than the relay's, for processes have to wake up at both ends.
        """
        self._keep_speed()
        for way in ways:
            for item in range(_WARM_UP):
                self._frame(way, item)
        return float(self._edge.do("link").get("rtt_ms", self._config.rtt_ms))

    def latencies(self, ways: Sequence[Way], link: Link) -> dict[str, Frames]:
        """Single frames, each sent when the last was answered; all ways take turns."""
        self._relay.shape(link.shape)
        frames: dict[str, Frames] = {way.name: [] for way in ways}
        for item in range(self._items):
            self._keep_speed()
            for way in ways:
                if self._needs_more(frames[way.name]):
                    frames[way.name].append(self._frame(way, item))
        return frames

    def _needs_more(self, frames: Frames) -> bool:
        spent_ms, enough_ms = sum(f["latency_ms"] for f in frames), self._config.enough_s * 1e3
        few, usual = _LEAST_FRAMES
        return spent_ms < enough_ms or len(frames) < (few if spent_ms > few * enough_ms else usual)

    def frames_per_second(self, ways: Sequence[Way], link: Link) -> dict[str, float]:
        """Of frames without pause: the median of runs in turns, of slow ways of a single one.

        Half of `pipelined_s` each, from the first answer to the last; the link is shaped already.
        """
        few, usual, most = _PIPELINED
        found: dict[str, list[float]] = {way.name: [] for way in ways}
        for run in range(_RUNS):
            self._keep_speed()
            for way in ways:
                period_ms = way.prediction(link).period_ms
                least = few if period_ms > self._config.pipelined_s * 1e3 else usual
                count = int(self._config.pipelined_s * 500 / period_ms)
                if run == 0 or count > least:
                    items = list(islice(cycle(range(self._items)), min(max(count, least), most)))
                    told = self._told({"do": "pipelined", "way": way.name, "items": items})
                    found[way.name].append(float(told["fps"]))
        return {name: median(values) for name, values in found.items()}

    def _keep_speed(self) -> None:
        way, as_planned_ms = self._control
        told = self._edge.do("control", way=way, as_planned_ms=as_planned_ms, pause_s=PAUSE_S)
        self.drifts.append(float(told["drift"]))

    def _frame(self, way: Way, item: int) -> dict[str, Any]:
        return self._told({"do": "frame", "way": way.name, "item": item % self._items})

    def _told(self, command: dict[str, Any]) -> dict[str, Any]:
        """A frame that the device had to finish on its own says nothing, and is sent again."""
        verb = command.pop("do")
        for _ in range(_TRIES):
            answer = self._edge.do(verb, **command)
            if answer["is_right"]:
                return answer
        raise LinkError(
            f"frames of {command['way']!r} were lost {_TRIES} times on the emulated link; "
            "run the bench on a quieter machine"
        )


def measured_rows(
    board: Board,
    ways: Sequence[Way],
    link: Link,
    known: Link,
    planners: Mapping[str, Mapping[str, float]],
    floor: float,
) -> Iterator[Row]:
    """Measure all ways on one link; `known` is what predictions know of it.

    `planners`: by way what other planners expect of it.
    """
    frames = board.latencies(ways, link)
    fps = board.frames_per_second([way for way in ways if not way.candidate.is_local], link)
    yield from _rows(ways, known, frames, fps, planners, floor)


def _rows(
    ways: Sequence[Way],
    link: Link,
    frames: Mapping[str, Frames],
    fps: Mapping[str, float],
    planners: Mapping[str, Mapping[str, float]],
    floor: float,
) -> Iterator[Row]:
    for way in ways:
        took = frames[way.name]
        latencies = [frame["latency_ms"] for frame in took]
        middle = median(latencies)
        low, high = np.percentile(latencies, [25, 75])
        measured = _terms(took)
        figures = way.candidate.figures
        yield Row(
            way=way.name,
            kind=way.kind,
            agreement=figures.agreement,
            meets_floor=figures.agreement >= floor,
            is_kept=way.candidate.kept,
            payload_bytes=int(median(frame["payload_bytes"] for frame in took)),
            predicted=way.predicted(link),
            measured=measured,
            measured_ms=middle,
            spread=float(high - low) / middle,
            predicted_fps=1e3 / way.prediction(link).period_ms,
            measured_fps=fps.get(way.name, 1e3 / measured.device_ms),
            planners=planners.get(way.name, {}),
        )


def _terms(frames: Frames) -> Terms:
    rest = (frame["latency_ms"] - frame["device_ms"] - frame["cloud_ms"] for frame in frames)
    return Terms(
        median(frame["device_ms"] for frame in frames),
        median(rest),
        median(frame["cloud_ms"] for frame in frames),
    )
