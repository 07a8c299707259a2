"""A service over real gRPC on the loopback, and what the device's side needs."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cloud.device import Device, Head, connected
from tests.cloud.gated import GatedTail
from tests.cloud.held_engine import GATE
from tests.cloud.serving import Answers, answering, listening
from tests.cloud.wire import WINDOW, new_sessions

from isthmus import Bundle, open_bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Core, RunningService, ServiceConfig, load_tails
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.engines.batch_times import UNMEASURED
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.sessions.sessions import Sessions


def ignore(_line: str) -> None:
    """Nobody reads the progress."""


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle, "cloud")


@pytest.fixture(scope="session")
def config(tiny_bundle: Path) -> ServiceConfig:
    return ServiceConfig(bundle=tiny_bundle, threads=1, window=4, provider="cpu")


@pytest.fixture(scope="session")
def tails(bundle: Bundle) -> Mapping[str, Tail]:
    """Those of the bundle, in batches of up to eight, whatever was measured meanwhile."""
    loaded = load_tails(bundle, OrtEngine(Cores(1)), 8, ignore)
    parts = {
        part: replace(part, times=UNMEASURED) for each in loaded.values() for part in each.parts
    }
    return {
        name: replace(tail, parts=tuple(parts[part] for part in tail.parts))
        for name, tail in loaded.items()
    }


@pytest.fixture(scope="session")
def head(bundle: Bundle) -> Head:
    return Head(bundle)


@pytest.fixture
async def service(
    bundle: Bundle, config: ServiceConfig, tails: Mapping[str, Tail]
) -> AsyncIterator[RunningService]:
    with answering(bundle.manifest, tails) as answerer:
        async with listening(config, bundle, answerer) as running:
            yield running


@pytest.fixture
async def device(service: RunningService, bundle: Bundle) -> AsyncIterator[Device]:
    """A device that was welcomed."""
    async with connected(service.address) as device:
        welcome = await device.hello(bundle.fingerprint)
        assert welcome.WhichOneof("kind") == "welcome"
        yield device


@pytest.fixture
async def gate() -> AsyncIterator[GatedTail]:
    """A tail that runs a frame when the test says so; what is left is let through at the end."""
    tail = GatedTail(asyncio.get_running_loop())
    yield tail
    tail.open_for_good()


@pytest.fixture
async def answerer(bundle: Bundle, gate: GatedTail) -> AsyncIterator[Answers]:
    """One worker that waits at the gate."""
    with answering(bundle.manifest, {"input": gate, "cut": gate}) as answerer:
        yield answerer
        gate.open_for_good()


@pytest.fixture
async def sessions(bundle: Bundle, answerer: Answers) -> AsyncIterator[Sessions]:
    """Those of a service without a network, with limits that nothing reaches."""
    sessions = new_sessions(bundle, answerer)
    yield sessions
    sessions.end_parked()


@pytest.fixture
async def core(
    config: ServiceConfig, answerer: Answers, gate: GatedTail, sessions: Sessions
) -> AsyncIterator[Core]:
    """A service without a network, with these sessions."""
    async with Core(config, desk=answerer.desk) as core:
        core.sessions = sessions
        yield core
        gate.open_for_good()  # it ends when what runs has ended


@pytest.fixture(scope="module")
def gate_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a `HeldEngine` looks for a `FarGate`; there is none unless a test puts one up."""
    path = tmp_path_factory.mktemp("gate") / "gate"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(GATE, str(path))
        yield path


@pytest.fixture
async def gated_service(
    bundle: Bundle, config: ServiceConfig, gate: GatedTail
) -> AsyncIterator[RunningService]:
    """A service whose only worker waits at the gate."""
    with answering(bundle.manifest, {"input": gate, "cut": gate}) as answerer:
        async with listening(config, bundle, answerer) as running:
            yield running
            gate.open_for_good()


@pytest.fixture
def frames(head: Head) -> list[pb.Frame]:
    """A window of them, each of another picture."""
    return [head.frame("cut-16", sequence, sequence) for sequence in range(1, WINDOW + 1)]
