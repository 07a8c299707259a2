"""Puts services together from parts, real and fake ones."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from isthmus import Bundle, Manifest
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import (
    Answerer,
    Auditor,
    Batching,
    Core,
    Deployment,
    Desk,
    DeskLimits,
    RunningService,
    ServiceConfig,
    StreamMemory,
    deployed,
)
from isthmus_cloud import listening as listening_core
from isthmus_cloud.answering.parts import Part, Tail, outputs_of
from isthmus_cloud.audits.auditing import NoAuditor
from isthmus_cloud.config import MAX_BYTES_IN_FLIGHT
from isthmus_cloud.engines.seam import AnyArray, Value


class FakeProgram(Protocol):
    """Answers a frame whatever it is."""

    provider: str

    def run(self, feeds: Sequence[AnyArray]) -> Sequence[AnyArray]: ...


class _Program:
    """A fake one as a part: it is fed what crosses, in the manifest's order."""

    sizes: tuple[int, ...] = ()

    def __init__(self, fake: FakeProgram, names: Sequence[str], outputs: Sequence[str]) -> None:
        self._fake = fake
        self.inputs: Mapping[str, str] = dict.fromkeys(names, "")
        self.outputs = tuple(outputs)

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        return self._fake.run([np.asarray(feeds[name]) for name in self.inputs])


class _Engine:
    def __init__(self, provider: str) -> None:
        self.provider = provider

    def load(self, path: Path) -> _Program:
        raise AssertionError(f"{path} is not to be loaded")

    def join(self, values: Sequence[Value], axis: int) -> Value:
        return np.concatenate([np.asarray(value) for value in values], axis)

    def to_host(self, value: Value) -> AnyArray:
        return np.asarray(value)

    def close(self) -> None: ...


def fake_tail(manifest: Manifest, cut_id: str, fake: FakeProgram, most: int = 1) -> Tail:
    """A tail of one part, which is fake."""
    cut = next(cut for cut in manifest.cuts if cut.id == cut_id)
    outputs = outputs_of(manifest, cut)
    names = [name for tensor in cut.tensors for name in tensor.feeds]
    program = _Program(fake, names, [spec.name for spec in outputs])
    return Tail(
        cut=cut,
        engine=_Engine(fake.provider),
        parts=(Part(f"cloud/fake-{cut_id}", program),),
        outputs=outputs,
        axes={spec.name: spec.batch_axis for spec in outputs} | dict.fromkeys(names, 0),
        most=most,
    )


@dataclass(frozen=True)
class Answers:
    """An answerer with a desk of its own."""

    answerer: Answerer
    desk: Desk
    tails: Mapping[str, Tail]

    @property
    def candidates(self) -> tuple[str, ...]:
        return self.answerer.candidates

    @property
    def bytes_in_flight(self) -> int:
        return self.desk.bytes_in_flight

    def load(self) -> pb.Load:
        return self.desk.load()

    async def quiet(self) -> None:
        await self.desk.quiet()

    async def answer(
        self, frame: pb.Frame, received_ns: int, top_k: int, memory: StreamMemory
    ) -> pb.Result:
        return await self.answerer.answer(frame, received_ns, top_k, memory)


@contextmanager
def answering(
    manifest: Manifest,
    tails: Mapping[str, Tail | FakeProgram],
    workers: int = 1,
    max_bytes_in_flight: int = MAX_BYTES_IN_FLIGHT,
) -> Iterator[Answers]:
    """Answers by these tails, by cut id."""
    limits = DeskLimits(max_bytes_in_flight=max_bytes_in_flight)
    with Desk(limits, Batching(workers=workers)) as desk:
        whole = {
            cut: tail if isinstance(tail, Tail) else fake_tail(manifest, cut, tail)
            for cut, tail in tails.items()
        }
        yield Answers(Answerer(manifest, whole, desk), desk, whole)


def deployment_of(
    bundle: Bundle, answers: Answers, auditor: Auditor | None = None, window: int = 4
) -> Deployment:
    """Version "1" of the bundle, by these answers; nothing is audited unless a test wants it."""
    deployment = deployed(bundle, answers.tails, answers.desk, version="1", window=window)
    return replace(deployment, answerer=answers.answerer, auditor=auditor or NoAuditor())


@asynccontextmanager
async def listening(
    config: ServiceConfig, bundle: Bundle, answers: Answers, auditor: Auditor | None = None
) -> AsyncIterator[RunningService]:
    """A service on the loopback that serves one bundle by these answers."""
    async with Core(config, desk=answers.desk) as core:
        core.deployments.activate(deployment_of(bundle, answers, auditor, config.window))
        async with listening_core(config, core) as service:
            yield service
