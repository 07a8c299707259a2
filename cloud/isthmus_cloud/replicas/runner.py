"""What a replica does with a call: decode its frames, run them as one batch, and take them apart.

No Ray here: this is the service's own way of a batch (`answering`), in another process.
"""

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from isthmus import (
    Bundle,
    BundleError,
    ConfigError,
    IsthmusError,
    ModelError,
    WireError,
    open_bundle,
)
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.decoding import Decoder
from isthmus_cloud.answering.flow import Flow
from isthmus_cloud.answering.items import Item
from isthmus_cloud.answering.jobs import NEVER_NS, Given, Work
from isthmus_cloud.answering.memory import StreamMemory
from isthmus_cloud.answering.packed import Packed, Plain
from isthmus_cloud.answering.parts import Part, Tail
from isthmus_cloud.answering.routes import Route, routes_of
from isthmus_cloud.deployments.loading import load_tails
from isthmus_cloud.engines.choice import open_engine
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.seam import Engine
from isthmus_cloud.replicas.calls import (
    Asked,
    Call,
    Description,
    Outcome,
    PartFacts,
    Problem,
    Reply,
    Run,
    problem_of,
    release,
)
from isthmus_cloud.replicas.memories import Memories
from isthmus_cloud.replicas.settings import CALLS, MAX_CALL_BYTES
from isthmus_cloud.replicas.spec import Spec, narrowed

__all__ = ["Begun", "Runner"]


MOST_ANSWERS_BYTES = MAX_CALL_BYTES - 64 * 1024  # of a reply; the rest is for what is around them

_UNANSWERED = Problem("model", "the replica has left this frame out")
_TOO_LARGE = Problem(
    "model",
    f"the answers to a batch take more than {MAX_CALL_BYTES >> 20} MB, which is the most that a "
    "replica can send at once; give the service a smaller --max-batch",
)


class Begun:
    """A call that has come: a work for every frame that could be read, and what befell others."""

    def __init__(self, call: Call) -> None:
        self.works: dict[int, Work] = {}
        self.outcomes = [Outcome(problem=_UNANSWERED)] * len(call.asked)
        self.memories = {each.packed.stream for each in call.asked if each.packed.stream}


class Runner:
    """The tails of one spec, ready to run; BundleError, ModelError or ConfigError otherwise.

    `begin` is called in the order in which calls come, and `end` after `run`, on one thread; `run`
    on any other.
    """

    def __init__(self, spec: Spec, say: Callable[[str], None]) -> None:
        self._bundle = _opened(spec)
        cores = Cores(spec.threads, CALLS)
        self._engine = open_engine(spec.engine, spec.provider, cores, self._bundle)
        try:
            self._tails = load_tails(self._bundle, self._engine, spec.max_batch, say, cores=cores)
        except IsthmusError:
            self._engine.close()
            raise
        self._routes = routes_of(self._bundle.manifest, self._tails)
        self._decoder = Decoder(1)
        self._memories = Memories()
        self._began_s: dict[Begun, float] = {}
        self._lock = threading.Lock()
        # No `__del__`: Ray calls that of a model by itself, while calls of it still run.
        self._close = weakref.finalize(self, _closed, self._decoder, self._engine)

    def close(self) -> None:
        """Let go of everything; nothing runs any more. By itself when nobody holds it."""
        self._close()

    def describe(self) -> Description:
        """For front ends."""
        parts = {part.name: part for tail in self._tails.values() for part in tail.parts}
        return Description(
            release=release(),
            provider=self._engine.provider,
            parts={name: _facts(part) for name, part in parts.items()},
        )

    def longest_s(self) -> float:
        """For how long the oldest call that is run has been running."""
        with self._lock:
            began_s = min(self._began_s.values(), default=time.monotonic())
        return time.monotonic() - began_s

    def lacks(self, call: Call) -> bool:
        """Whether a frame of it refers to a mark of its stream that has not come: calls overtake
        each other on their way, and so it may be about to. On the thread of `begin`."""
        coming: set[tuple[str, int]] = set()
        for packed in (asked.packed for asked in call.asked if asked.packed.stream):
            mark = (packed.stream, packed.reference)
            if packed.refers and mark not in coming and not self._memories.has(*mark):
                return True
            coming.add((packed.stream, packed.mark))
        return False

    def begin(self, call: Call) -> Begun:
        """Read the frames; those of one stream are decoded in the order in which they came."""
        begun = Begun(call)
        now_ns = time.monotonic_ns()
        for place, asked in enumerate(call.asked):
            try:
                begun.works[place] = self._work(asked, now_ns)
            except IsthmusError as error:
                begun.outcomes[place] = Outcome(problem=problem_of(error))
        return begun

    def run(self, begun: Begun, replica: str) -> Reply:
        """Run what was begun, and answer."""
        with self._lock:
            self._began_s[begun] = time.monotonic()
        try:
            runs = self._run(begun)
        finally:
            with self._lock:
                del self._began_s[begun]
        return Reply(replica, _bounded(begun.outcomes), runs)

    def end(self, begun: Begun) -> None:
        """A call is over; on the thread of `begin`."""
        self._memories.settle(begun.memories)

    def _run(self, begun: Begun) -> list[Run]:
        places = {work: place for place, work in begun.works.items()}
        lines = _Lines(begun.works.values())
        runs: list[Run] = []

        def ran(part: Part, works: Sequence[Work], took_ms: float) -> None:
            runs.append(Run(part.name, [places[work] for work in works], took_ms))

        flow = Flow(self._decoder, lines.joining, ran)
        while batch := lines.next():
            for work, error in flow.run(batch):
                begun.outcomes[places[work]] = _outcome(work, error)
                work.turn.give_up()
        return runs

    def _work(self, asked: Asked, now_ns: int) -> Work:
        tail = self._tails.get(asked.cut)
        if tail is None:
            raise ModelError(f"this replica has no tail of {asked.cut!r}")
        packed = asked.packed
        frame = pb.Frame.FromString(packed.frame)
        left_ns = NEVER_NS if asked.left_ms is None else int(asked.left_ms * 1e6)
        return Work(
            turn=self._turn(packed, frame, tail),
            tail=tail,
            received_ns=now_ns,
            deadline_ns=min(now_ns + left_ns, NEVER_NS),
            is_marked=frame.mark > 0,
        )

    def _turn(self, packed: Packed, frame: pb.Frame, tail: Tail) -> Given:
        if not packed.candidate:
            tensors = {name: plain.array() for name, plain in packed.tensors.items()}
            return Item(tail.cut, tensors)
        route = self._route(packed.candidate)
        route.frame_bytes(frame)
        memory = self._memories.of(packed.stream) if packed.stream else StreamMemory()
        return memory.turn(route, frame)

    def _route(self, candidate: str) -> Route:
        try:
            return self._routes[candidate]
        except KeyError:
            raise WireError(f"this replica answers no frames of {candidate!r}") from None


class _Lines:
    """The works of a call, a line for each tail, in the order in which they stand there."""

    def __init__(self, works: Iterable[Work]) -> None:
        self._lines: OrderedDict[Tail, list[Work]] = OrderedDict()
        for work in works:
            self._lines.setdefault(work.tail, []).append(work)

    def next(self) -> list[Work]:
        """The next line; [] when all are done."""
        return self._lines.popitem(last=False)[1] if self._lines else []

    def joining(self, rest: Sequence[Part], most: int, own: Tail, most_own: int) -> list[Work]:
        """See `Waiting.joining`. The front end has chosen those that fit by what another replica
        has measured: what does not fit here is run by itself."""
        for tail, works in self._lines.items():
            if most > 0 and tail.most > 1 and tail.entry_to(rest) is not None:
                joining, left = works[:most], works[most:]
                self._lines[tail] = left
                if not left:
                    del self._lines[tail]
                return joining
        return []


def _opened(spec: Spec) -> Bundle:
    """The bundle, of the cuts that are wanted of it; by the release that is wanted."""
    if spec.release != release():
        raise ConfigError(
            f"a replica runs Isthmus {release()}, Isthmus {spec.release} is asked for; give all "
            "machines of the cluster one release"
        )
    bundle = open_bundle(Path(spec.path), "cloud")
    if bundle.fingerprint != spec.fingerprint:
        raise BundleError(
            f"{spec.path}: holds bundle {bundle.fingerprint[:12]} on this machine, the service has "
            f"{spec.fingerprint[:12]}; give all machines the same store"
        )
    return replace(bundle, manifest=narrowed(bundle.manifest, spec))


def _closed(decoder: Decoder, engine: Engine) -> None:
    decoder.close()
    engine.close()


def _facts(part: Part) -> PartFacts:
    program, times = part.program, part.times
    return PartFacts(
        inputs=dict(program.inputs),
        outputs=tuple(program.outputs),
        sizes=tuple(program.sizes),
        measured=times.sizes,
        took_ms=times.took_ms,
    )


def _bounded(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """As many as one reply can hold; the others are errors."""
    room_bytes = MOST_ANSWERS_BYTES
    bounded: list[Outcome] = []
    for outcome in outcomes:
        size_bytes = sum(len(plain.data) for plain in outcome.outputs.values())
        fits = size_bytes <= room_bytes
        room_bytes -= size_bytes if fits else 0
        bounded.append(outcome if fits else Outcome(problem=_TOO_LARGE))
    return bounded


def _outcome(work: Work, error: Exception | None) -> Outcome:
    if error is not None:
        return Outcome(problem=problem_of(error))
    return Outcome(
        outputs={name: Plain.of(values) for name, values in work.outputs.items()},
        decode_ms=(work.decoded_ns - work.begun_ns) / 1e6,
        run_ms=work.run_ms,
        batch=work.batch,
    )
