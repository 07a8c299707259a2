"""Who takes part: our service in its variants, the bare loop, peers; and who does not, and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.orders import Protocol
from isthmus_bench.serve.peers.environment import MODEL_NAME, Peer, PeerError, install
from isthmus_bench.serve.services import (
    Announced,
    Server,
    bare_command,
    cloud_command,
)
from isthmus_bench.serve.subject import DEEPEST, FORTIETH, INPUT, MIXED, Subject
from isthmus_bench.serve.variants import (
    BATCHED,
    BATCHED_ONE,
    NO_JOINS,
    ONE_WORKER,
    UNBATCHED,
    VARIANTS,
    known_flags,
    why_no_gpu,
)

Say = Callable[[str], None]
BARE = "bare grpc.aio loop"
_ALL = (DEEPEST, FORTIETH, INPUT, MIXED)
_SENT = {NO_JOINS: (MIXED,), ONE_WORKER: (DEEPEST,), BATCHED_ONE: (FORTIETH, INPUT)}  # else all

__all__ = ["BARE", "Ask", "Contestant", "Field", "contestants"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What devices send to a server, and how."""

    sends: str
    protocol: Protocol
    model: str = ""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server: `start` makes its processes, which are ready in their context."""

    name: str
    start: Callable[[], Server]
    asks: tuple[Ask, ...]
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """All who take part, and by name why others do not; `ours` is who stands for us."""

    contestants: tuple[Contestant, ...]
    peers: tuple[Peer, ...]
    not_run: dict[str, str]
    ours: str


def contestants(config: ServeBenchConfig, subject: Subject, threads: int, say: Say) -> Field:
    """Find out what this service can do, and install the peers; `threads` run one tail."""
    logs = config.work / "logs"
    not_run: dict[str, str] = {}
    found = [
        Contestant(BARE, partial(_bare, subject, sends, threads, logs), (Ask(sends, "bare"),))
        for sends in (DEEPEST, FORTIETH, INPUT)
    ]
    found += _ours(config, subject, logs, not_run)
    peers = []
    for name in config.peers:
        say(f"installing {name}, if it is not there yet")
        try:
            peer = install(name, config.work / "peers" / name)
        except PeerError as error:
            not_run[name] = str(error)
            continue
        peers.append(peer)
        model = subject.served[INPUT][0].whole
        start = partial(peer.serve, model, threads, logs / f"{name}.log")
        found.append(Contestant(name, start, (Ask(INPUT, "oip", MODEL_NAME),)))
    return Field(tuple(found), tuple(peers), not_run, _standing_for_us(found))


def _bare(subject: Subject, sends: str, threads: int, logs: Path) -> Server:
    (served,) = subject.served[sends]
    return Announced(bare_command(served.spec, threads), logs / f"bare-{sends}.log")


def _ours(
    config: ServeBenchConfig, subject: Subject, logs: Path, not_run: dict[str, str]
) -> list[Contestant]:
    known, no_gpu = known_flags(), why_no_gpu()
    found = []
    for variant in VARIANTS:
        if variant.gpu and not config.gpu:
            continue
        flags = variant.flags_for(known)
        if variant.gpu and no_gpu is not None:
            not_run[variant.name] = no_gpu
        elif flags is None:
            not_run[variant.name] = f"this service has no {' and no '.join(variant.missing(known))}"
        else:
            command = cloud_command(subject.bundle.path, flags)
            start = partial(Announced, command, logs / f"{variant.name}.log")
            asks = tuple(Ask(sends, "split") for sends in _SENT.get(variant.name, _ALL))
            found.append(Contestant(variant.name, start, asks, is_ours=True))
    ours = _standing_for_us(found)
    by_oip = Ask(INPUT, "oip", subject.manifest.model_name)
    return [
        replace(each, asks=(*each.asks, by_oip)) if each.name == ours else each for each in found
    ]


def _standing_for_us(found: Sequence[Contestant]) -> str:
    return BATCHED if BATCHED in {each.name for each in found} else UNBATCHED
