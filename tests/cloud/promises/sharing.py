"""Other ways to have replicas: for several models one after the other, and for one tail each. Front
ends beside the first one, on the same Ray, ask for them."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cloud.computing import beside
from tests.cloud.device import Device, Head, Truth, connected
from tests.cloud.far_gate import FarGate
from tests.cloud.films import check_result, check_right
from tests.cloud.promises.answers import CANDIDATES
from tests.cloud.serving import answering, listening

from isthmus import Bundle, open_bundle
from isthmus_cloud import ServiceConfig
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.deployments.deployment import TailSource

on_replicas = pytest.mark.parametrize("source", ["ray"], indirect=True)


@asynccontextmanager
async def answered(
    config: ServiceConfig, bundle: Bundle, tails: Mapping[str, Tail]
) -> AsyncIterator[Device]:
    """A device of a service of its own."""
    with answering(bundle.manifest, tails, workers=4) as answers:
        async with (
            listening(config, bundle, answers) as service,
            connected(service.address) as device,
        ):
            await device.hello(bundle.fingerprint)
            yield device


@pytest.fixture
def other(other_bundle: Path) -> Bundle:
    return open_bundle(other_bundle, "cloud")


@pytest.fixture
def shared(
    source: TailSource, bundle: Bundle, other: Bundle
) -> Iterator[tuple[Mapping[str, Tail], Mapping[str, Tail]]]:
    """Of both bundles, on one replica that holds one at a time; front ends of other engines."""
    with (
        beside(source, models=1) as one,
        beside(source, models=1, engine="onnxruntime") as two,
        one(bundle, ("tiny", "1")) as tails,
        two(other, ("other", "1")) as other_tails,
    ):
        yield tails, other_tails


@pytest.fixture
def apart(source: TailSource, bundle: Bundle) -> Iterator[Mapping[str, Tail]]:
    """Each on a replica of its own."""
    with beside(source, per_tail=True) as front_end, front_end(bundle, ("tiny", "1")) as tails:
        yield tails


@on_replicas
async def test_a_model_that_makes_room_for_another_runs_what_it_has_begun(
    shared: tuple[Mapping[str, Tail], Mapping[str, Tail]],
    config: ServiceConfig,
    bundle: Bundle,
    other: Bundle,
    head: Head,
    gate_path: Path,
) -> None:
    """And is run by the engine that its own front end wants."""
    other_head, truth, other_truth = Head(other), Truth(bundle), Truth(other)
    providers = [tails["cut"].engine.provider for tails in shared]
    assert providers == ["Ray Serve, HeldExecutionProvider", "Ray Serve, CPUExecutionProvider"]
    async with (
        answered(config, bundle, shared[0]) as first,
        answered(config, other, shared[1]) as second,
    ):
        for sequence in (1, 2):
            await check_right(first, head.frame("cut-16", sequence), truth)
            await check_right(second, other_head.frame("input-raw", sequence), other_truth)
        await check_right(first, head.frame("input-raw", 3), truth)
        with FarGate(gate_path) as gate:
            last = head.frame("cut-256", 4)
            await first.send(frame=last)
            await gate.begun()
            await check_right(second, other_head.frame("cut-16", 3), other_truth)
            gate.let_pass()
            await check_result(first, {4: truth.of(last)})


@on_replicas
async def test_each_tail_may_have_replicas_of_its_own(
    apart: Mapping[str, Tail], config: ServiceConfig, bundle: Bundle, head: Head, gate_path: Path
) -> None:
    frames = [head.frame(name, number) for number, name in enumerate(CANDIDATES, 1)]
    expected = {frame.sequence: Truth(bundle).of(frame) for frame in frames}
    async with answered(config, bundle, apart) as device:
        with FarGate(gate_path) as gate:
            for frame in frames[::2]:
                await device.send(frame=frame)
                await gate.begun()
            assert len(set(gate.process_ids)) == 2
            gate.open_for_good()
            for frame in frames[1::2]:
                await device.send(frame=frame)
            assert {await check_result(device, expected) for _ in frames} == set(expected)
