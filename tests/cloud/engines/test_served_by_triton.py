"""A service whose tails a Triton server runs: while that is gone, frames end in errors."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from tests.cloud.conftest import ignore
from tests.cloud.device import Head
from tests.cloud.engines.triton_server import StandIn
from tests.cloud.serving import Answers, answering
from tests.commands import PATIENCE_S
from tests.tinybundle import PROBABILITIES

from isthmus import Bundle, LinkError, decode_answer
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import StreamMemory, load_tails
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.engines.choice import open_engine
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.triton_repository import write_repository

FRAMES = 12


@pytest.fixture
def repository(bundle: Bundle, tmp_path: Path) -> Path:
    write_repository(bundle, tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def server(repository: Path) -> Iterator[StandIn]:
    with StandIn(repository) as running:
        yield running


@pytest.fixture
async def answers(bundle: Bundle, server: StandIn) -> AsyncIterator[Answers]:
    engine = open_engine(f"triton://127.0.0.1:{server.port}", "auto", Cores(1), bundle)
    with answering(bundle.manifest, load_tails(bundle, engine, 8, ignore), workers=2) as answers:
        yield answers
    engine.close()


async def outcomes(answers: Answers, head: Head) -> list[pb.Result | BaseException]:
    """Of frames of both cuts that are under way at the same time."""
    frames = [
        head.frame(("cut-16", "input-raw")[sequence % 2], sequence, sequence % 8)
        for sequence in range(1, FRAMES + 1)
    ]
    memory = StreamMemory()
    waiting = [answers.answer(frame, time.monotonic_ns(), 0, memory) for frame in frames]
    return list(await asyncio.gather(*waiting, return_exceptions=True))


def are(results: list[pb.Result | BaseException], wanted: list[np.ndarray]) -> bool:
    """Whether every frame got its own answer; a batch may round otherwise than another."""
    return all(
        isinstance(result, pb.Result) and np.allclose(_answer(result), right, atol=1e-5)
        for result, right in zip(results, wanted, strict=True)
    )


def _answer(result: pb.Result) -> np.ndarray:
    return decode_answer(result.outputs[0], PROBABILITIES)


async def test_frames_are_answered_fail_while_it_is_gone_and_are_answered_again(
    answers: Answers,
    tails: Mapping[str, Tail],
    bundle: Bundle,
    head: Head,
    server: StandIn,
    repository: Path,
) -> None:
    with answering(bundle.manifest, tails) as mine:
        own = await outcomes(mine, head)
    wanted = [_answer(result) for result in own if isinstance(result, pb.Result)]
    assert len({right.tobytes() for right in wanted}) > 4
    assert are(await outcomes(answers, head), wanted)

    server.process.kill()
    server.process.wait(PATIENCE_S)
    lost = await outcomes(answers, head)
    assert [type(each) for each in lost] == [LinkError] * FRAMES
    assert answers.bytes_in_flight == 0

    with StandIn(repository, server.port):
        last_s = time.monotonic() + PATIENCE_S
        while not are(again := await outcomes(answers, head), wanted):
            assert time.monotonic() < last_s, again
            assert all(isinstance(each, pb.Result | LinkError) for each in again)
