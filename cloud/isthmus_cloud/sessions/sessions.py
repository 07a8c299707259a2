"""Every session of the service: those that streams carry, and those that are parked.

A session whose stream broke is parked: what is in flight goes on, and its results are kept for the
stream on which the device comes back. Parked sessions are bounded in time (`resume_s`) and in
number; the oldest goes first. The results that all sessions keep, live ones too, are bounded
together. Whoever knows a session's id and the bundle, and is the same identity, can take it over:
devices choose ids that nobody guesses.
"""

from isthmus.session import (
    Close,
    Greet,
    Reply,
    ServiceEvent,
    ServiceLimits,
    ServiceSession,
    error_message,
)
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.desk import Desk
from isthmus_cloud.audits.audited import Audited
from isthmus_cloud.deployments.deployment import Deployment
from isthmus_cloud.deployments.deployments import Deployments
from isthmus_cloud.sessions.alarm import Alarm
from isthmus_cloud.sessions.held import Carrier, HeldSession
from isthmus_cloud.sessions.visitor import Visitor
from isthmus_cloud.telemetry import Observer, Observers, StreamOpened

SHORT = 12  # digits of a fingerprint that people compare
MOST_KEPT_BYTES = 64 * 1024 * 1024  # results that all sessions keep for a resume or an audit

__all__ = ["Sessions"]


class Sessions:
    """By id. Each uses the deployment whose bundle its device holds."""

    def __init__(
        self,
        deployments: Deployments,
        desk: Desk,
        limits: ServiceLimits,
        max_parked: int,
        observer: Observer | None = None,
    ) -> None:
        self._deployments = deployments
        self._desk = desk
        self._limits = limits
        self._max_parked = max_parked
        self._observer = observer or Observers()
        self._by_id: dict[str, HeldSession] = {}
        self._parked: dict[str, HeldSession] = {}  # oldest first
        self._kept_bytes = 0
        self._alarm = Alarm(self._wakes_at, self._expire)
        self._parks = True
        deployments.moved = self._offer

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

    @property
    def streams(self) -> int:
        """Devices that have a stream and were let in; who only looks is none."""
        return len(self._by_id) - len(self._parked)

    def load(self) -> pb.Load:
        """What a frame that came now would meet, and among how many devices."""
        load = self._desk.load()
        load.streams = self.streams
        return load

    @property
    def idle_s(self) -> float:
        """After how long without a sign of the device a stream ends."""
        return self._limits.idle_s

    @property
    def observer(self) -> Observer:
        """Who hears of what happens here."""
        return self._observer

    def begin(self, carrier: Carrier, now: float, visitor: Visitor | None = None) -> HeldSession:
        """A stream was opened: what it has until it says Hello."""
        active = self._deployments.active
        terms = active[-1].terms if active else pb.Welcome()
        rules = ServiceSession(terms, self._limits, now, self._count_bytes)
        audited = Audited(self._count_bytes)
        return HeldSession(
            rules, audited, visitor or Visitor(), carrier, self._observer, self._desk.unread()
        )

    def greet(
        self, waiting: HeldSession, message: pb.EdgeMessage, now: float
    ) -> tuple[HeldSession, list[ServiceEvent]]:
        """Hello came on a stream: the session that it has from now on, and what follows."""
        hello = message.hello
        if hello.look:
            return waiting, self._looked_at(waiting, message, now)
        known = self._by_id.get(hello.session_id)
        refusal = None if known is None else _refusal(known, waiting, hello)
        if refusal is not None:
            waiting.rules.close()
            return waiting, [refusal]
        if known is not None and _fits(known, hello):
            known.move_to(waiting.carrier, waiting.visitor)
            events = known.rules.resume(hello, now)
            return known, self._welcomed(known, events, waiting.visitor, resumed=True)
        deployment = self._deployments.of(hello.bundle_fingerprint)
        if deployment is None:
            return waiting, self._stranger(waiting, message, now)
        rules = ServiceSession(deployment.terms, self._limits, now, self._count_bytes)
        waiting.use(deployment, rules)
        events = rules.received(message, now, received_ns=0)
        if rules.state == "open":
            if known is not None:  # the device has another bundle since
                known.carrier.let_go(known)
                self.end(known)
            self._by_id[rules.id] = waiting
            self._deployments.take(deployment)
            events = self._welcomed(waiting, events, waiting.visitor, resumed=False)
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
            if held.deployment is not None:
                self._deployments.give_back(held.deployment)

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

    def tell(self, message: pb.CloudMessage) -> None:
        """See `Carrier`: nobody is there."""

    def _welcomed(
        self, held: HeldSession, events: list[ServiceEvent], visitor: Visitor, *, resumed: bool
    ) -> list[ServiceEvent]:
        """Tell it the load, note it, and offer the version that devices should have by now."""
        for event in events:
            if isinstance(event, Greet):
                event.message.welcome.load.CopyFrom(self.load())
        deployment = held.deployment
        assert deployment is not None
        self._observer.note(
            StreamOpened(
                identity=visitor.identity.name,
                session=held.rules.name,
                model=deployment.name,
                version=deployment.version,
                peer=visitor.peer,
                resumed=resumed,
            )
        )
        active = self._deployments.named(deployment.name)
        if active is None or active is deployment:
            return events
        return [*events, Reply(_update(active))]

    def _looked_at(
        self, waiting: HeldSession, message: pb.EdgeMessage, now: float
    ) -> list[ServiceEvent]:
        """The load that this device would meet, itself counted: then it goes, and nothing stays."""
        deployment = self._deployments.of(message.hello.bundle_fingerprint)
        if deployment is None:
            return self._stranger(waiting, message, now)
        waiting.rules.close()
        events = ServiceSession(deployment.terms, self._limits, now).received(message, now, 0)
        for event in events:
            if isinstance(event, Greet):
                event.message.welcome.load.CopyFrom(self.load())
                event.message.welcome.load.streams += 1
        return events

    def _stranger(
        self, waiting: HeldSession, message: pb.EdgeMessage, now: float
    ) -> list[ServiceEvent]:
        """The device's bundle is none of ours, or it speaks another protocol."""
        waiting.rules.close()
        active = self._deployments.active  # since the stream was opened one may have come
        if not active:
            return [_EMPTY]
        if len(active) > 1 and message.hello.protocol == PROTOCOL:
            return [_held_by_none(message.hello, len(active))]
        rules = ServiceSession(active[-1].terms, self._limits, now)
        return rules.received(message, now, received_ns=0)

    def _offer(self, active: Deployment) -> None:
        """Another version of a model is the active one."""
        for held in tuple(self._by_id.values()):
            deployment = held.deployment
            if deployment is None or deployment is active:
                continue
            if deployment.name == active.name:
                held.carrier.tell(_update(active))

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
_TAKEN = Close(
    error_message(0, pb.ERROR_CODE_PROTOCOL, "another device has a session of this id; choose one")
)
_EMPTY = Close(error_message(0, pb.ERROR_CODE_BUNDLE_MISMATCH, "this service serves no model now"))


def _held_by_none(hello: pb.Hello, models: int) -> Close:
    """Which model a device has it does not say: no bundle here is the one to compare with."""
    theirs = hello.bundle_fingerprint[:SHORT] or "none"
    text = (
        f"the device holds bundle {theirs}, and none of the {models} models of this service is "
        "served with it: model, plan or weights differ"
    )
    return Close(error_message(0, pb.ERROR_CODE_BUNDLE_MISMATCH, text))


def _refusal(known: HeldSession, waiting: HeldSession, hello: pb.Hello) -> Close | None:
    """Why this Hello may not have the session of its id, or put another one in its place."""
    if known.visitor.identity.name != waiting.visitor.identity.name:
        return _TAKEN
    # A device counts its streams whatever bundle it has: an older one must end no newer session.
    return _OVERTAKEN if known.rules.was_overtaken(hello) else None


def _fits(known: HeldSession, hello: pb.Hello) -> bool:
    """Whether this Hello goes on with a session that can."""
    return (
        hello.protocol == PROTOCOL
        and known.deployment is not None
        and hello.bundle_fingerprint == known.deployment.fingerprint
        and known.rules.state in {"open", "parked"}
    )


def _update(active: Deployment) -> pb.CloudMessage:
    return pb.CloudMessage(
        update=pb.Update(
            model=active.name, version=active.version, bundle_fingerprint=active.fingerprint
        )
    )


def _kept_bytes(held: HeldSession) -> int:
    return held.kept_bytes
