"""Versions come and go; no session loses the one that it uses."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cloud.device import connected
from tests.cloud.wire import Wire, hello, until
from tests.tinybundle import build_tiny_bundle

from isthmus import Bundle, BundleError
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import (
    Core,
    RunningService,
    ServiceConfig,
    listening,
)
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.deployments.deployment import Deployment, Loader
from isthmus_cloud.deployments.deployments import Deployments
from isthmus_cloud.deployments.loading import LocalTails
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.engines.seam import Engine
from isthmus_cloud.security import Identity, OpenDoor
from isthmus_cloud.sessions.visitor import Visitor
from isthmus_cloud.telemetry import Activated, Happening


class Notes:
    """What an observer hears."""

    def __init__(self) -> None:
        self.happened: list[Happening] = []

    def note(self, happening: Happening) -> None:
        self.happened.append(happening)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with other weights."""
    return build_tiny_bundle(tmp_path_factory.mktemp("second") / "tiny", seed=1)


@pytest.fixture
async def core(config: ServiceConfig) -> AsyncIterator[Core]:
    notes = Notes()
    async with Core(config, notes) as core:
        core.deployments = Deployments(notes, retire_s=0.01)
        core.sessions._deployments = core.deployments
        core.deployments.moved = core.sessions._offer
        yield core


@pytest.fixture
def loader(core: Core) -> Loader:
    return Loader(desk=core.desk, tails_of=tails_on(lambda _: OrtEngine(Cores(1))), window=4)


def tails_on(open_engine: Callable[[Bundle], Engine]) -> LocalTails:
    return LocalTails(open_engine=open_engine, cores=Cores(1), max_batch=4, announce=lambda _: None)


@pytest.fixture
async def first(core: Core, loader: Loader, tiny_bundle: Path) -> Deployment:
    deployment = await loader.load(tiny_bundle, version="1")
    core.deployments.activate(deployment)
    return deployment


@pytest.fixture
async def service(
    core: Core, config: ServiceConfig, first: Deployment
) -> AsyncIterator[RunningService]:
    async with listening(config, core) as service:
        yield service


async def test_an_engine_closes_behind_what_uses_it(
    core: Core, loader: Loader, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    forget = core.desk.forget

    def forgets(tails: Iterable[Tail]) -> None:
        closed.append("tails")
        forget(tails)

    class Noted(OrtEngine):
        def close(self) -> None:
            closed.append("engine")
            super().close()

    monkeypatch.setattr(core.desk, "forget", forgets)
    noting = replace(loader, tails_of=tails_on(lambda _: Noted(Cores(1))))
    deployment = await noting.load(tiny_bundle, version="1")
    await asyncio.to_thread(deployment.close)
    assert closed == ["tails", "engine"]


async def retired(core: Core, deployment: Deployment) -> None:
    await until(lambda: deployment not in core.deployments.all)


async def test_the_welcome_says_which_version_it_is(
    service: RunningService, bundle: Bundle
) -> None:
    async with connected(service.address) as device:
        welcome = (await device.hello(bundle.fingerprint)).welcome
    assert (welcome.model, welcome.version) == ("tiny", "1")


async def test_a_device_of_the_old_version_that_comes_again_is_offered_the_new_one(
    service: RunningService, core: Core, loader: Loader, second: Path, bundle: Bundle
) -> None:
    async with connected(service.address) as keeps:
        await keeps.hello(bundle.fingerprint)
        core.deployments.activate(await loader.load(second, version="2"))
        async with connected(service.address) as device:
            assert (await device.hello(bundle.fingerprint)).HasField("welcome")
            assert (await device.receive()).update.version == "2"


async def test_the_version_before_is_the_active_one_again(
    service: RunningService, core: Core, loader: Loader, first: Deployment, second: Path
) -> None:
    """Rollback: what is still here is not loaded again."""
    new = await loader.load(second, version="2")
    core.deployments.activate(new)
    core.deployments.activate(first)
    await retired(core, new)
    assert core.deployments.active == (first,)
    notes = core.sessions.observer
    assert isinstance(notes, Notes)
    moves = [each for each in notes.happened if isinstance(each, Activated)]
    assert [(each.previous, each.version) for each in moves] == [("", "1"), ("1", "2"), ("2", "1")]


async def test_what_cannot_be_loaded_leaves_everything_as_it_was(
    core: Core, loader: Loader, first: Deployment, tmp_path: Path
) -> None:
    broken = build_tiny_bundle(tmp_path / "broken", seed=2)
    (broken / "cloud/tail-1.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match=r"tail-1\.onnx"):
        await loader.load(broken, version="2")
    assert core.deployments.all == (first,)


async def test_a_service_without_a_bundle_says_so(
    core: Core, config: ServiceConfig, bundle: Bundle
) -> None:
    async with listening(config, core) as service, connected(service.address) as device:
        error = (await device.hello(bundle.fingerprint)).error
        assert error.code == pb.ERROR_CODE_BUNDLE_MISMATCH
        assert "serves no model now" in error.message


async def test_a_device_is_compared_with_no_model_where_nobody_knows_which_it_has(
    service: RunningService, core: Core, loader: Loader, second: Path, bundle: Bundle
) -> None:
    """One model is named, so that it is seen if it is another one; of two neither."""
    core.deployments.deactivate("tiny")
    other = await loader.load(second, name="serve", version="7")
    core.deployments.activate(other)
    async with connected(service.address) as device:
        error = (await device.hello(bundle.fingerprint)).error
        assert f"{other.fingerprint[:12]} (serve 7): model, plan" in error.message
    core.deployments.activate(await loader.load(second, name="more", version="8"))
    async with connected(service.address) as device:
        error = (await device.hello(bundle.fingerprint)).error
        assert error.code == pb.ERROR_CODE_BUNDLE_MISMATCH
        assert bundle.fingerprint[:12] in error.message
        assert "none of the 2 models" in error.message
        assert other.fingerprint[:12] not in error.message
        assert error.message.endswith("weights differ")
    async with connected(service.address) as device:
        older = pb.Hello(protocol=PROTOCOL - 1, session_id="x", bundle_fingerprint="0" * 64)
        await device.send(hello=older)
        assert (await device.receive()).error.code == pb.ERROR_CODE_PROTOCOL


async def test_nobody_takes_over_the_session_of_another_identity(
    core: Core, first: Deployment
) -> None:
    """A session's id alone is not enough where devices have names."""
    owner = Wire(core.sessions, stalls=False, visitor=Visitor(Identity(name="owner")))
    await owner.greet(hello(first.bundle, "the id"))
    thief = Wire(core.sessions, stalls=False, visitor=Visitor(Identity(name="thief")))
    thief.say(hello=hello(first.bundle, "the id", unanswered=[1]))
    error = await thief.error()
    assert error.code == pb.ERROR_CODE_PROTOCOL
    await thief.ended()
    await owner.roundtrip()
    owner.half_close()
    await owner.ended()


async def test_a_device_whose_token_was_taken_back_is_put_out(
    core: Core, first: Deployment
) -> None:
    """At the next thing that it says, be it a heartbeat."""

    class Forgets(OpenDoor):
        forgotten = False

        def holds(self, identity: Identity) -> bool:
            return not self.forgotten

    guard = Forgets()
    wire = Wire(core.sessions, stalls=False, visitor=Visitor(Identity(name="one"), guard=guard))
    await wire.greet(hello(first.bundle))
    await wire.roundtrip()
    guard.forgotten = True
    wire.say(heartbeat=pb.Heartbeat(id=2))
    assert (await wire.error()).code == pb.ERROR_CODE_DENIED
    await wire.ended()
    assert core.sessions.count == 0
