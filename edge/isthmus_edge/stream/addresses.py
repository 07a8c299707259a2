"""Which address of the cloud is tried next: names and times in, one command out.

    never looked up -> look it up
    one that has not failed of late -> try it (and after a failure ask again what the names say)
    all have failed -> look the names up again; then the first whose back-off is over; else wait

The order is drawn by lot for each device, so that many of them spread over all replicas, and goes
round: who loses one goes on to the next, but for one that is preferred, because a look has shown
that it is less loaded (`balance.py`). In order, it is always the first of the places as they were
named of which nothing bad is known; the lot is for the addresses of one name.

Nothing here knows a socket or a clock; `now` is the device's monotonic clock, in seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from math import inf
from random import Random

from isthmus import ConfigError

BACKOFF_S = (0.1, 1.5)  # for an address, and for a name
FORGOTTEN_S = 30.0  # a failure that is older counts no more
LOOK_UP_S = 30.0  # a name is looked up again after a failure, no sooner than this …
SPENT_LOOK_UP_S = 5.0  # … or than this where all that it stands for has failed
LONGEST_RETRY_S = 60.0  # that a service can ask to be left alone

_DNS = "dns:"

__all__ = [
    "LONGEST_RETRY_S",
    "Address",
    "Addresses",
    "LookUp",
    "Target",
    "Try",
    "Turn",
    "Wait",
    "targets_of",
]


@dataclass(frozen=True, slots=True)
class Target:
    """One of the places that were named; `host` is a name or an IP address, without brackets."""

    host: str
    port: int

    @property
    def is_name(self) -> bool:
        """Whether it has to be looked up."""
        try:
            ip_address(self.host.partition("%")[0])
        except ValueError:
            return True
        return False

    def __str__(self) -> str:
        return _joined(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Address:
    """Where one service may listen. `name` is what was named: its certificate must be for that.

    With port 0 it is no address of a network, but whatever a transport is called.
    """

    ip: str
    port: int
    name: str

    def __str__(self) -> str:
        return _joined(self.ip, self.port) if self.port else self.ip


def targets_of(cloud: str | Iterable[str]) -> tuple[Target, ...]:
    """What ``cloud=`` names: ``HOST:PORT`` or ``dns:NAME:PORT``, several with commas or in a list.

    Raises ConfigError for anything else, and for nothing at all.
    """
    texts = [cloud] if isinstance(cloud, str) else list(cloud)
    named = [part.strip() for text in texts for part in text.split(",")]
    if not any(named):
        raise ConfigError("cloud: no address is given; use HOST:PORT, or several of them")
    return tuple(dict.fromkeys(_target(text) for text in named))


def _target(text: str) -> Target:
    rest = text.removeprefix(_DNS).removeprefix("///") if text.startswith(_DNS) else text
    host, _, port = rest.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    if not host or not is_port or "/" in host:
        raise ConfigError(
            f"cloud address {text!r}: use HOST:PORT, for instance 127.0.0.1:50051, or "
            "dns:NAME:PORT for a name with several addresses"
        )
    return Target(host.removeprefix("[").removesuffix("]"), int(port))


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask for the addresses of these names."""

    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Try:
    """Connect to this one; look `meanwhile` up beside it."""

    address: Address
    meanwhile: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may be done for so long."""

    seconds: float


Turn = LookUp | Try | Wait


@dataclass(slots=True)
class _BackOff:
    """How often something failed, when last, and when it may be tried again."""

    failures: int = 0
    failed_at: float = -inf
    free_at: float = -inf

    def fail(self, now: float, random: Random, least_s: float) -> None:
        """Exponential, with jitter, so that many devices do not come back in step."""
        least, most = BACKOFF_S
        self.failures += 1
        longest_s = min(least * 2.0 ** min(self.failures, 16), most)
        self.failed_at = now
        self.free_at = now + max(longest_s * random.uniform(0.5, 1.0), least_s)

    def is_fresh(self, now: float) -> bool:
        """Whether nothing speaks against it."""
        return now >= max(self.free_at, self.failed_at + FORGOTTEN_S)


@dataclass(slots=True)
class _Place:
    address: Address
    target: Target
    rank: int  # of its family, as the system prefers them
    back_off: _BackOff


@dataclass(slots=True)
class _Name:
    asked_at: float | None
    back_off: _BackOff


class Addresses:
    """All that is known of the places that were named, and whose turn it is."""

    def __init__(
        self,
        targets: Iterable[Target],
        random: Random,
        known: Iterable[Address] = (),
        *,
        in_order: bool = False,
    ) -> None:
        """`known` need not be looked up, nor do targets that are IP addresses.

        `in_order` prefers what was named before.
        """
        self._random = random
        targets = tuple(targets)
        self._order = {target: at for at, target in enumerate(targets)} if in_order else {}
        self._names = {each: _Name(None, _BackOff()) for each in targets if each.is_name}
        self._places: list[_Place] = []  # in the order in which they have their turn
        self._last: Address | None = None
        self._preferred: Address | None = None
        literals = [Address(t.host, t.port, t.host) for t in targets if not t.is_name]
        for address in (*literals, *known):
            self._put_in(_Place(address, Target(address.name, address.port), 0, _BackOff()))

    def turn(self, now: float) -> Turn:
        """What to do now."""
        unknown = tuple(t for t, name in self._names.items() if name.asked_at is None)
        if unknown:
            return LookUp(unknown)
        places = [place for place in self._places if place.back_off.is_fresh(now)]
        fresh = self._first(places) if self._order else self._after(places)
        if fresh is not None:
            self._last, self._preferred = fresh.address, None
            return Try(fresh.address, self._due(now, LOOK_UP_S) if self._has_failed() else ())
        due = self._due(now, SPENT_LOOK_UP_S)
        if due:
            return LookUp(due)
        ready = self._after([p for p in self._places if now >= p.back_off.free_at])
        if ready is not None:
            self._last = ready.address
            return Try(ready.address)
        return Wait(max(self._next_at() - now, 0.0))

    def prefer(self, address: Address) -> None:
        """It has the next turn, if nothing speaks against it then."""
        self._preferred = address

    def other(self, present: Address, now: float) -> Address | None:
        """Another one than the `present`, by lot, of which nothing bad is known; None without.

        It is of no family that the system likes less: that may be the same service once more.
        """
        rank = max((p.rank for p in self._places if p.address == present), default=0)
        fresh = [p.address for p in self._places if p.rank <= rank and p.back_off.is_fresh(now)]
        others = [address for address in fresh if address != present]
        return self._random.choice(others) if others else None

    def due(self, now: float) -> tuple[Target, ...]:
        """Names that may stand for more by now than when they were last looked up."""
        return self._due(now, LOOK_UP_S)

    def has_fresh(self, now: float) -> bool:
        """Whether another one could be tried at once, of which nothing bad is known."""
        return any(place.back_off.is_fresh(now) for place in self._places)

    def is_ready(self, now: float) -> bool:
        """Whether any could be tried at once."""
        return any(now >= place.back_off.free_at for place in self._places)

    def learn(self, target: Target, ips: Sequence[str], now: float) -> None:
        """A name stands for these, in the order in which the system prefers their families.

        Those that it no longer stands for are forgotten.
        """
        name = self._names[target]
        name.asked_at, name.back_off = now, _BackOff()
        families = list(dict.fromkeys(map(_family, ips)))
        ranks = {Address(ip, target.port, target.host): families.index(_family(ip)) for ip in ips}
        self._places = [p for p in self._places if p.target != target or p.address in ranks]
        known = {place.address: place for place in self._places if place.target == target}
        for address, rank in ranks.items():
            if address in known:
                known[address].rank = rank
            else:
                self._put_in(_Place(address, target, rank, _BackOff()))

    def not_found(self, target: Target, now: float) -> None:
        """A name could not be looked up; what it stood for before goes on counting."""
        name = self._names[target]
        name.asked_at = now
        is_known = any(place.target == target for place in self._places)
        name.back_off.fail(now, self._random, SPENT_LOOK_UP_S if is_known else 0.0)

    def worked(self, address: Address) -> None:
        """A service is there, and welcomes this device."""
        for place in self._places:
            if place.address == address:
                place.back_off = _BackOff()

    def failed(self, address: Address, now: float, least_s: float = 0.0) -> None:
        """Nobody is there, or not for this device; it is left alone for `least_s` at least."""
        for place in self._places:
            if place.address == address:
                place.back_off.fail(now, self._random, least_s)

    def _put_in(self, place: _Place) -> None:
        self._places.insert(self._random.randint(0, len(self._places)), place)

    def _first(self, places: Sequence[_Place]) -> _Place | None:
        """Of these, the one that was named before all others."""
        behind_all = len(self._order)  # are those that were known, but not named

        def turn(place: _Place) -> tuple[int, int]:
            return self._order.get(place.target, behind_all), place.rank

        return min(places, key=turn, default=None)

    def _after(self, places: Sequence[_Place]) -> _Place | None:
        """Of these, the one that is preferred, or the next round behind that tried last."""
        order = [place.address for place in self._places]
        begin = order.index(self._last) + 1 if self._last in order else 0
        behind = {address: (at - begin) % len(order) for at, address in enumerate(order)}

        def turn(place: _Place) -> tuple[bool, int, int]:
            return place.address != self._preferred, place.rank, behind[place.address]

        return min(places, key=turn, default=None)

    def _has_failed(self) -> bool:
        return any(place.back_off.failures for place in self._places)

    def _due(self, now: float, after_s: float) -> tuple[Target, ...]:
        return tuple(t for t, name in self._names.items() if now >= _ask_at(name, after_s))

    def _next_at(self) -> float:
        """When there is something to do again, while nothing is fresh."""
        names = [_ask_at(name, SPENT_LOOK_UP_S) for name in self._names.values()]
        return min([*names, *(place.back_off.free_at for place in self._places)], default=inf)


def _ask_at(name: _Name, after_s: float) -> float:
    assert name.asked_at is not None  # else it is looked up before anything else
    return name.back_off.free_at if name.back_off.failures else name.asked_at + after_s


def _family(ip: str) -> int:
    return ip_address(ip.partition("%")[0]).version


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
