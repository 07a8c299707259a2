"""The guard of run-time agreement: a share of the answers is compared with the unsplit model's.

    sampled --sent, `audited`--> under way --answered by the cloud--> encoded --the link is idle-->
    raw input sent --Verdict--> counted; a rung that drifts below the floor is not trusted any more

One frame at a time; whatever goes wrong with it, it is dropped and counted, and no frame is delayed
or changed. The raw input is copied when its frame is sampled: after the answer it is the caller's
again. All methods run on the agent's event loop.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from isthmus import Candidate, ConfigError, FrameEncoder, IsthmusError, Manifest, Picture
from isthmus.pictures import available
from isthmus.raw_input import is_exact, raw_input_ways
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.audit.lulls import Lulls
from isthmus_edge.audit.verdicts import AuditStats, Verdicts
from isthmus_edge.config import AgentConfig
from isthmus_edge.events import Events
from isthmus_edge.link import LinkEstimate
from isthmus_edge.runtimes import AnyArray
from isthmus_edge.stream.frame import Frame

SENT_WITHIN_S = 5.0  # after the answer
VERDICT_WITHIN_S = 15.0
_CAUTION = 2.0  # deviations by which the link is taken to be slower than believed
_EMPTY_MS = 1.0  # a queue on the link that is none
_LEAST_PAUSE_S = 0.05  # before the link is looked at once more
_GOLDEN = 0.6180339887498949

Distrust = Callable[[str, int], None]  # candidate, rung

log = logging.getLogger("isthmus.edge")

__all__ = ["Audits", "Distrust", "Road", "is_sampled", "raw_input_way"]


class Road(Protocol):
    """What audits ask of an uplink."""

    @property
    def link_queue_ms(self) -> float:
        """How long what is sent now would wait on the link."""
        ...

    def estimate(self) -> LinkEstimate | None:
        """The link as it is believed to be, None while it is not up."""
        ...

    def audit(self, sequence: int, raw_input: pb.Frame) -> None:
        """Send the raw input of a frame that was answered."""
        ...


@dataclass(slots=True, eq=False)
class _Audit:
    """`inputs` until they are encoded, `raw_input` from then on until it is sent."""

    sequence: int
    candidate: Candidate
    since: float
    inputs: Sequence[AnyArray] = ()
    raw_input: pb.Frame | None = None
    is_sent: bool = False

    @property
    def rung(self) -> str:
        return f"{self.candidate.id}@{self.candidate.chosen}"


def is_sampled(number: int, share: float) -> bool:
    """Whether the frame of this number is one of the `share` (0-1) that are audited.

    By the multiples of the golden ratio: evenly spread, and in step with no period of the frames.
    """
    return number * _GOLDEN % 1.0 < share


def raw_input_way(manifest: Manifest) -> Candidate:
    """The candidate, at the rung, by which this device sends raw inputs for audits.

    Of those that carry them exactly, whether the plan keeps them or not, the one of fewest bytes,
    without picture formats where possible: these take long. Raises ConfigError where there is none,
    and where the plan offers no candidate that sends whole inputs: it may have been made so that
    they do not leave the device (`--no-raw-input`, `--privacy-depth`).
    """
    if not any(not c.is_local and not manifest.cut_of(c).depth for c in manifest.kept):
        raise ConfigError(
            "audit_share: audits send raw inputs, and the plan of this bundle offers no candidate "
            "that sends whole inputs, as one that protects them does not; leave audit_share at 0, "
            "or plan without --no-raw-input and --privacy-depth"
        )
    ways = [way for way in raw_input_ways(manifest) if _can_write(*way)]
    if not ways:
        known = ", ".join(candidate.id for candidate in manifest.candidates)
        raise ConfigError(
            "audit_share: audits send raw inputs exactly, and no candidate of this bundle does so "
            f"(input-raw, input-lossless), it has: {known}; leave audit_share at 0, or build the "
            "bundle again"
        )
    candidate, rung = min(ways, key=lambda way: _effort(*way))
    return msgspec.structs.replace(candidate, chosen=rung)


class Audits:
    """Those of one agent; without an `audit_share` it does nothing.

    Raises ConfigError where the bundle allows none: see `raw_input_way`.
    """

    def __init__(
        self,
        manifest: Manifest,
        config: AgentConfig,
        distrust: Distrust,
        events: Events,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        floor = config.agreement_floor
        self._manifest = manifest
        self._share = config.audit_share
        self._way = raw_input_way(manifest) if self._share else None
        self._verdicts = Verdicts(manifest.agreement_floor if floor is None else floor)
        self._distrust = distrust
        self._events = events
        self._clock = clock
        self._lulls = Lulls()
        self._road: Road | None = None
        self._current: _Audit | None = None
        self._frames = 0
        self._timer: asyncio.TimerHandle | None = None
        self._encoding: asyncio.Task[None] | None = None

    def stats(self) -> AuditStats:
        """The counts so far."""
        return self._verdicts.stats()

    def connect(self, road: Road) -> None:
        """What raw inputs are sent by."""
        self._road = road

    def begin(self, frame: Frame, candidate: Candidate) -> None:
        """The policy sends a frame, whose head has not run: perhaps it is one to be audited."""
        exact = is_exact(candidate.rungs[candidate.chosen].encodings)
        if self._way is None or frame.pinned is not None or exact:
            return
        self._frames += 1
        if not is_sampled(self._frames, self._share):
            return
        now = self._clock()
        self._drop_if_late(now)
        if self._current is not None:
            self._verdicts.dropped += 1
            return
        cut = self._manifest.cut_of(self._way)
        inputs = [frame.tensors[tensor.boundary.name].copy() for tensor in cut.tensors]
        self._current = _Audit(frame.sequence, candidate, now, inputs)

    def sending(self, message: pb.Frame) -> None:
        """A frame is about to be sent."""
        self._lulls.end(self._clock())
        audit = self._current
        message.audited = audit is not None and audit.sequence == message.sequence

    def ended(self, sequence: int, *, in_cloud: bool) -> None:
        """A frame has ended; only an answer of the cloud can be compared."""
        audit = self._current
        if audit is None or audit.sequence != sequence:
            return
        if not in_cloud:
            self._drop("it was not answered by the cloud")
            return
        audit.since = self._clock()
        self._encoding = asyncio.create_task(self._encode(audit))

    def idle(self) -> None:
        """No frame is under way any more."""
        self._lulls.begin(self._clock())
        self._offer()

    def told(self, verdict: pb.Verdict) -> None:
        """The service has compared an answer, or says why not."""
        audit = self._current
        if audit is None or not audit.is_sent or audit.sequence != verdict.sequence:
            return
        self._current = None
        if not verdict.compared:
            self._verdicts.not_compared += 1
            log.debug("frame %d was not compared: %s", verdict.sequence, verdict.reason)
            return
        drift = self._verdicts.add(audit.rung, agrees=verdict.agrees)
        if drift is not None:
            self._distrust(audit.candidate.id, audit.candidate.chosen)
            self._events.add(drift)

    def lost(self) -> None:
        """The link has changed: the service may have forgotten the answer."""
        self._drop("the link has changed")

    async def close(self) -> None:
        """Send nothing more."""
        self._drop("the agent is closing")
        if self._encoding is not None:
            self._encoding.cancel()
            await asyncio.gather(self._encoding, return_exceptions=True)

    async def _encode(self, audit: _Audit) -> None:
        """On a thread of its own, and with an encoder of its own: the frames' one remembers."""
        assert self._way is not None  # or nothing would be sampled
        work = asyncio.to_thread(_encoded, self._way, self._manifest, audit.inputs)
        try:
            audit.raw_input = await work
        except Exception as error:
            if not isinstance(error, IsthmusError):
                log.exception("the raw input of frame %d could not be encoded", audit.sequence)
            if self._current is audit:
                self._drop(str(error))
            return
        audit.inputs = ()
        self._offer()

    def _offer(self) -> None:
        """Send what waits, if no frame is likely to need the link meanwhile."""
        self._stop_timer()
        now, audit, road = self._clock(), self._current, self._road
        self._drop_if_late(now)
        if self._current is None or audit is None or audit.raw_input is None or audit.is_sent:
            return
        link = None if road is None else road.estimate()
        if road is None or link is None or not self._lulls.is_on:
            return
        transfer_s = link.at(-_CAUTION).transfer_ms(audit.raw_input.ByteSize()) / 1e3
        is_empty = road.link_queue_ms <= _EMPTY_MS
        if not (is_empty and self._lulls.fits(transfer_s, now)):
            delay_s = max(self._lulls.pause_at - now, _LEAST_PAUSE_S)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._offer)
            return
        try:
            road.audit(audit.sequence, audit.raw_input)
        except Exception as error:
            log.exception("the raw input of frame %d could not be sent", audit.sequence)
            self._drop(str(error))
            return
        audit.is_sent, audit.raw_input, audit.since = True, None, now

    def _drop_if_late(self, now: float) -> None:
        audit = self._current
        if audit is None or audit.inputs:  # its frame is under way, which ends by itself
            return
        if now - audit.since > (VERDICT_WITHIN_S if audit.is_sent else SENT_WITHIN_S):
            what = "no verdict came" if audit.is_sent else "the link was never idle for long enough"
            self._drop(what)

    def _drop(self, why: str) -> None:
        self._stop_timer()
        audit, self._current = self._current, None
        if audit is not None:
            self._verdicts.dropped += 1
            log.debug("frame %d is not audited: %s", audit.sequence, why)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _encoded(way: Candidate, manifest: Manifest, inputs: Sequence[AnyArray]) -> pb.Frame:
    return FrameEncoder().encode(way, manifest.cut_of(way), way.chosen, inputs, alone=True)


def _can_write(candidate: Candidate, rung: int) -> bool:
    return all(available(picture.format) for picture in _pictures(candidate, rung))


def _effort(candidate: Candidate, rung: int) -> tuple[bool, int]:
    """What is better comes first."""
    return bool(_pictures(candidate, rung)), candidate.rungs[rung].figures.payload_bytes


def _pictures(candidate: Candidate, rung: int) -> list[Picture]:
    return [e for e in candidate.rungs[rung].encodings if isinstance(e, Picture)]
