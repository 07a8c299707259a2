"""Every session of the service: those that streams carry, and those that are parked.

A session whose stream broke is parked: what is in flight goes on, and its results are kept for the
stream on which the device comes back. Parked sessions are bounded in time (`resume_s`) and in
number; the oldest goes first. The results that all sessions keep, live ones too, are bounded
together. Whoever knows a session's id and the bundle can take it over, so devices choose ids that
nobody guesses.
"""

from isthmus.session import Close, ServiceEvent, ServiceLimits, ServiceSession, error_message
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.answerer import Answerer
from isthmus_cloud.audits.audited import Audited
from isthmus_cloud.audits.auditing import Auditor
from isthmus_cloud.sessions.alarm import Alarm
from isthmus_cloud.sessions.held import Carrier, HeldSession

MOST_KEPT_BYTES = 64 * 1024 * 1024  # results that all sessions keep for a resume or an audit

__all__ = ["Sessions"]


class Sessions:
    """By id. `terms` is the Welcome of every session: fingerprint, window and the rest."""

    def __init__(
        self,
        answerer: Answerer,
        auditor: Auditor,
        terms: pb.Welcome,
        limits: ServiceLimits,
        max_parked: int,
    ) -> None:
        self._answerer = answerer
        self._auditor = auditor
        self._terms = terms
        self._limits = limits
        self._max_parked = max_parked
        self._by_id: dict[str, HeldSession] = {}
        self._parked: dict[str, HeldSession] = {}  # oldest first
        self._kept_bytes = 0
        self._alarm = Alarm(self._wakes_at, self._expire)
        self._parks = True

    @property
    def count(self) -> int:
        """Sessions that can be resumed, live or parked."""
        return len(self._by_id)

    @property
    def parked(self) -> int:
        """Those without a stream."""
        return len(self._parked)

    @property
    def kept_bytes(self) -> int:
        """Results that all of them keep for a resume or an audit."""
        return self._kept_bytes

    def load(self) -> pb.Load:
        """What a frame that came now would meet."""
        return self._answerer.load()

    def begin(self, carrier: Carrier, now: float) -> HeldSession:
        """A stream was opened: what it has until it says Hello."""
        rules = ServiceSession(self._terms, self._limits, now, self._count_bytes)
        audited = Audited(self._count_bytes)
        return HeldSession(rules, audited, self._answerer, self._auditor, carrier)

    def greet(
        self, waiting: HeldSession, message: pb.EdgeMessage, now: float
    ) -> tuple[HeldSession, list[ServiceEvent]]:
        """Hello came on a stream: the session that it has from now on, and what follows."""
        known = self._known(message.hello)
        if known is not None and known.rules.state in {"open", "parked"}:
            if known.rules.was_overtaken(message.hello):
                waiting.rules.close()
                return waiting, [_OVERTAKEN]
            known.move_to(waiting.carrier)
            return known, known.rules.resume(message.hello, now)
        events = waiting.rules.received(message, now, received_ns=0)
        if waiting.rules.state == "open":
            self._by_id[waiting.rules.id] = waiting
        return waiting, events

    def park(self, held: HeldSession, now: float) -> None:
        """The stream of this session is over. Nothing is kept where no resume can come, and where
        the device has all its answers and has said so."""
        held.keep_outcomes()
        held.rules.lost(now)
        if held.rules.state != "parked" or not self._parks:
            self.end(held)
            return
        self._parked[held.rules.id] = held
        held.carrier = self
        self.make_room()
        self._alarm.set()

    def end(self, held: HeldSession) -> None:
        """Nothing will come of this session any more; its memory is free."""
        held.end()
        if self._by_id.get(held.rules.id) is held:
            del self._by_id[held.rules.id]
            self._parked.pop(held.rules.id, None)

    def end_parked(self) -> None:
        """The service is ending: nobody can come back here."""
        self._parks = False
        self._alarm.stop()
        for held in tuple(self._parked.values()):
            self.end(held)

    def outcome_ready(self, held: HeldSession) -> None:
        """See `Carrier`: a frame of a parked session is done."""
        held.keep_outcomes()
        if held.rules.in_flight or held.rules.kept_bytes:
            self.make_room()
        else:
            self.end(held)

    def let_go(self, held: HeldSession) -> None:
        """See `Carrier`: a device came back."""
        self._parked.pop(held.rules.id, None)

    def make_room(self) -> None:
        """A session was parked, or more is kept than before: see that it is not too much."""
        while len(self._parked) > self._max_parked:
            self.end(next(iter(self._parked.values())))
        if self._kept_bytes > MOST_KEPT_BYTES:
            self._forget_kept()

    def _known(self, hello: pb.Hello) -> HeldSession | None:
        fits = (
            hello.protocol == PROTOCOL
            and hello.bundle_fingerprint == self._terms.bundle_fingerprint
        )
        return self._by_id.get(hello.session_id) if fits else None

    def _forget_kept(self) -> None:
        """Of parked sessions all, the oldest first; then of the live ones that keep most."""
        for held in tuple(self._parked.values()):
            if self._kept_bytes <= MOST_KEPT_BYTES:
                return
            held.forget(held.kept_bytes)
            if not held.rules.in_flight:
                self.end(held)
        for held in sorted(self._by_id.values(), key=_kept_bytes, reverse=True):
            if self._kept_bytes <= MOST_KEPT_BYTES:
                return
            # Half of it, or the next result would bring us here again.
            held.forget(max(self._kept_bytes - MOST_KEPT_BYTES, held.kept_bytes // 2))

    def _count_bytes(self, count: int) -> None:
        self._kept_bytes += count

    def _wakes_at(self) -> float:
        return min((held.rules.wakes_at() for held in self._parked.values()), default=float("inf"))

    def _expire(self, now: float) -> None:
        for held in tuple(self._parked.values()):
            held.rules.tick(now)
            if held.rules.state == "ended":
                self.end(held)


_OVERTAKEN = Close(
    error_message(0, pb.ERROR_CODE_SUPERSEDED, "a newer stream of this session came first")
)


def _kept_bytes(held: HeldSession) -> int:
    return held.kept_bytes
