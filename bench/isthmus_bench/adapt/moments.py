"""What traces do not show well, measured for itself: links that die, cold starts, forced switches,
and what pipelining is worth.

Links die under every model, for what a device does then depends on how long its own network takes;
the rest is measured with the first one.
"""

import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal

from isthmus import Candidate
from isthmus_bench.adapt.gaps import switch_gaps_ms
from isthmus_bench.adapt.lane import Lane, frames_of
from isthmus_bench.adapt.runs import OURS, FrameEnd, Policy, Scene
from isthmus_bench.adapt.subjects import Built
from isthmus_bench.comparison import row_name
from isthmus_bench.plan.measuring import DEVICE as PLAN_DEVICE
from isthmus_bench.processes import EdgeProcess
from isthmus_bench.relay import LinkShape, Relay

__all__ = [
    "ColdStart",
    "DeadLink",
    "ForcedSwitches",
    "Moments",
    "Pipelining",
    "dead_link_of",
    "measured_moments",
]

_STEADY_MBPS, _STEADY_RTT_MS = 50.0, 40.0
_BEFORE_S, _AFTER_S = 2.0, 4.5  # of the camera's run, before and after the link dies
_STAGGER_S = 0.13  # so that links do not always die in step with heartbeats
_TURN, _ROUNDS = 4, 4  # frames on a candidate, times that each has its turn
_PIPELINE_RTT_MS = 50.0
_PIPELINE_MBPS = 50.0
_PIPELINE_FACTOR = 1.0  # a slow head would hide what pipelining gains
_ALONE, _PIPELINED, _RUNS = 12, 48, 3

DeathKind = Literal["black hole", "half-open"]
Say = Callable[[str], None]
LaneOf = Callable[[Built, Scene], Lane]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLink:
    """A link that died in the middle of a stream.

    `detect_s` until the agent's figures no longer call it up, None if they did to the end of the
    run. `local_answer_ms` until the first answer by the device, to a frame that was under way or
    came afterwards. `was_remote`: the cloud had answered the frame before; else the death changed
    nothing for the stream and `local_answer_ms` says nothing.
    """

    model: str
    kind: DeathKind
    detect_s: float | None
    local_answer_ms: float | None
    was_remote: bool
    candidate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """An agent whose cloud never answers: from opening it until it is open, and to an answer."""

    kind: Literal["refused", "silent"]
    open_ms: float
    answer_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcedSwitches:
    """Gaps by `switch_gaps_ms` on a steady link, where frames are pinned to each candidate in turn.

    Nothing but the switch changes here; on traces the link changes with it. Without two candidates
    to switch between there are no gaps.
    """

    fps: float
    mbps: float
    rtt_ms: float
    candidates: tuple[str, ...]
    gaps_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipelining:
    """Frames a second without pause, and one after the other, of one candidate on one link."""

    candidate: str
    title: str
    edge_factor: float
    mbps: float
    rtt_ms: float
    alone_fps: float
    pipelined_fps: float

    @property
    def speedup(self) -> float:
        """Pipelined / send-then-wait."""
        return self.pipelined_fps / self.alone_fps


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """All of them: dead links of every model, the rest with `model`.

    `pipelining` is None where the plan keeps nothing but the whole network on the device.
    """

    model: str
    dead_links: tuple[DeadLink, ...]
    cold_starts: tuple[ColdStart, ...]
    switches: ForcedSwitches
    pipelining: Pipelining | None

    @property
    def detect_dead_s(self) -> float | None:
        """The longest time until a dead link was known; None if one was not noticed."""
        return _longest([link.detect_s for link in self.dead_links])

    @property
    def first_local_answer_ms(self) -> float | None:
        """The longest time until the device answered; None if it did not, or was not needed."""
        return _longest([d.local_answer_ms for d in self.dead_links if d.was_remote])

    @property
    def cold_start_answer_ms(self) -> float:
        """The longest time from opening an agent without a network to its first answer."""
        return max(start.answer_ms for start in self.cold_starts)


def measured_moments(
    subjects: Sequence[tuple[Built, Scene]], trials: int, say: Say, lane_of: LaneOf = Lane
) -> Moments:
    """Measure them one after the other, each model's on a lane of its own.

    The link dies `trials` times under each of the models. `say` gets a line for each model.
    """
    (built, scene), *others = subjects
    say(f"{built.model}: links that die, cold starts, forced switches, pipelining")
    with lane_of(built, scene) as lane:
        dead_links = _dead_links(built, scene, lane, trials)
        cold_starts = _cold_starts(lane)
        switches = _forced_switches(built, scene, lane)
        pipelining = _pipelining(built, lane)
    for each, its_scene in others:
        say(f"{each.model}: links that die")
        with lane_of(each, its_scene) as lane:
            dead_links += _dead_links(each, its_scene, lane, trials)
    return Moments(
        model=built.model,
        dead_links=dead_links,
        cold_starts=cold_starts,
        switches=switches,
        pipelining=pipelining,
    )


def dead_link_of(
    model: str, kind: DeathKind, told: Mapping[str, Any], begin: float, died_at: float
) -> DeadLink:
    """What a device told of a run that began at `begin` and whose link died at `died_at`."""
    frames = [frame for frame in frames_of(told) if frame.end_s is not None]
    before = [frame for frame in frames if _end(frame) + begin <= died_at]
    last = max(before, key=_end, default=None)
    local = [_end(f) + begin for f in frames if f.place == "device"]
    left_up = [at for at, state in told["states"] if at >= died_at and state != "up"]
    answered = min((at for at in local if at > died_at), default=None)
    return DeadLink(
        model=model,
        kind=kind,
        detect_s=min(left_up) - died_at if left_up else None,
        local_answer_ms=None if answered is None else (answered - died_at) * 1e3,
        was_remote=last is not None and last.place == "cloud",
        candidate="" if last is None else last.candidate,
    )


def _dead_links(built: Built, scene: Scene, lane: Lane, trials: int) -> tuple[DeadLink, ...]:
    kinds: tuple[DeathKind, ...] = ("black hole", "half-open")
    found = []
    for trial in range(trials):
        kind, after_s = kinds[trial % 2], _BEFORE_S + trial * _STAGGER_S
        told, begin, died_at = _dead_link(lane, scene, kind, after_s)
        found.append(dead_link_of(built.model, kind, told, begin, died_at))
    return tuple(found)


def _dead_link(
    lane: Lane, scene: Scene, kind: DeathKind, after_s: float
) -> tuple[dict[str, Any], float, float]:
    """What the device told, when its camera began, and when the link died."""
    lane.open(Policy(name=OURS, kind="ours", title="ours"), _STEADY_MBPS, _STEADY_RTT_MS)
    frames = max(1, int((after_s + _AFTER_S) * scene.fps))
    begin = lane.start({"frames": frames, "fps": scene.fps, "watch": True})
    time.sleep(max(begin + after_s - time.monotonic(), 0.0))
    died_at = time.monotonic()
    if kind == "half-open":
        lane.relay.half_open(True)
    else:
        lane.relay.shape(LinkShape.symmetric(0.0, _STEADY_RTT_MS))
    told = lane.finish()
    lane.relay.half_open(False)
    return told, begin, died_at


def _cold_starts(lane: Lane) -> tuple[ColdStart, ...]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"127.0.0.1:{listener.getsockname()[1]}"
    refused = lane.cold_start(nobody)
    lane.relay.half_open(True)
    silent = lane.cold_start(lane.relay.address)
    lane.relay.half_open(False)
    return (
        ColdStart(kind="refused", open_ms=refused["open_ms"], answer_ms=refused["answer_ms"]),
        ColdStart(kind="silent", open_ms=silent["open_ms"], answer_ms=silent["answer_ms"]),
    )


def _forced_switches(built: Built, scene: Scene, lane: Lane) -> ForcedSwitches:
    turns = tuple(candidate.id for candidate in built.manifest.kept)
    gaps_ms: list[float] = []
    if len(turns) > 1:
        lane.open(Policy(name=OURS, kind="ours", title="ours"), _STEADY_MBPS, _STEADY_RTT_MS)
        frames = _TURN * _ROUNDS * len(turns)
        lane.start({"frames": frames, "fps": scene.fps, "turns": turns, "every": _TURN})
        gaps_ms = switch_gaps_ms(frames_of(lane.finish()), scene.period_ms)
    return ForcedSwitches(
        fps=scene.fps,
        mbps=_STEADY_MBPS,
        rtt_ms=_STEADY_RTT_MS,
        candidates=turns,
        gaps_ms=tuple(gaps_ms),
    )


def _pipelining(built: Built, lane: Lane) -> Pipelining | None:
    """With the process that measures plans, whose board is as fast as this machine here."""
    candidate = _fast_split(built)
    if candidate is None:
        return None
    link = LinkShape.symmetric(_PIPELINE_MBPS, _PIPELINE_RTT_MS)
    with (
        tempfile.TemporaryDirectory(prefix="isthmus-") as alone,
        Relay(lane.cloud, link) as relay,
        EdgeProcess(_plan_flags(built, relay.address, Path(alone)), module=PLAN_DEVICE) as edge,
    ):
        items = [index % built.count for index in range(_PIPELINED)]
        for item in items[:_ALONE]:
            edge.do("frame", way=candidate.id, item=item)
        alone_ms = [
            edge.do("frame", way=candidate.id, item=item)["latency_ms"] for item in items[:_ALONE]
        ]
        fps = [edge.do("pipelined", way=candidate.id, items=items)["fps"] for _ in range(_RUNS)]
    return Pipelining(
        candidate=candidate.id,
        title=row_name(candidate),
        edge_factor=_PIPELINE_FACTOR,
        mbps=_PIPELINE_MBPS,
        rtt_ms=_PIPELINE_RTT_MS,
        alone_fps=1e3 / fmean(alone_ms),
        pipelined_fps=median(fps),
    )


def _plan_flags(built: Built, cloud: str, alone: Path) -> dict[str, object]:
    return {
        "bundle": built.bundle.path,
        "cloud": cloud,
        "items": built.items,
        "alone": alone,
        "factor": _PIPELINE_FACTOR,
        "top-k": built.top_k,
    }


def _fast_split(built: Built) -> Candidate | None:
    """The split that keeps two processors busy for the shortest time; without any, a picture.

    None if the plan keeps nothing that the cloud has a part in.
    """
    remote = [c for c in built.manifest.kept if not c.is_local]
    splits = [c for c in remote if c.precision != "none"]
    factor = built.manifest.edge_factor

    def busy_ms(candidate: Candidate) -> float:
        return max(candidate.figures.device_ms / factor, candidate.figures.cloud_ms)

    return min(splits or remote, key=busy_ms, default=None)


def _end(frame: FrameEnd) -> float:
    assert frame.end_s is not None  # only answered frames come here
    return frame.end_s


def _longest(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None
