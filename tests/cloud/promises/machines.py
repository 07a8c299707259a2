"""A machine of the cluster that stops, with the replica on it: no frame is lost."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import psutil
import pytest
from tests.cloud.computing import beside
from tests.cloud.device import Head
from tests.cloud.replicas.load import further, loaded
from tests.cloud.replicas.processes import REPLICA, awaited, below
from tests.cloud.serving import answering, listening

from isthmus import Bundle
from isthmus_cloud import ServiceConfig
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.deployments.deployment import TailSource
from isthmus_cloud.replicas import own_node

CORES = os.cpu_count() or 1  # of which this machine's own node has given some away already

on_replicas = pytest.mark.parametrize("source", ["ray"], indirect=True)


@contextmanager
def machine(address: str) -> Iterator[psutil.Process]:
    """Another node of a Ray; all of its processes are below this one."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}"]
    command += [f"--num-cpus={CORES}", "--num-gpus=0", "--block", "--disable-usage-stats"]
    with subprocess.Popen(
        [sys.executable, "-I", own_node.__file__, *command],
        stdin=subprocess.PIPE,  # it ends when this does
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as node:
        yield psutil.Process(node.pid)


@pytest.fixture
async def machines(source: TailSource) -> AsyncIterator[list[psutil.Process]]:
    """Two, one after the other: such as start at once may want the same port."""
    import ray  # noqa: PLC0415 - not everybody has it

    address = ray.get_runtime_context().gcs_address
    with ExitStack() as stack:
        first, second = (machine(address) for _ in range(2))
        started = [stack.enter_context(first)]
        await awaited(lambda: len(ray.nodes()) == 2)  # type: ignore[no-untyped-call]
        started.append(stack.enter_context(second))
        await awaited(lambda: len(ray.nodes()) == 3)  # type: ignore[no-untyped-call]
        yield started


@pytest.fixture
def spread(
    source: TailSource, bundle: Bundle, machines: list[psutil.Process]
) -> Iterator[Mapping[str, Tail]]:
    """Two replicas, of which each takes a machine that is all its own."""
    with (
        beside(source, least=2, most=2, cpus=CORES) as front_end,
        front_end(bundle, ("tiny", "1")) as tails,
    ):
        yield tails


@on_replicas
async def test_a_machine_that_stops_takes_its_replica_along_and_no_frame(
    spread: Mapping[str, Tail],
    machines: list[psutil.Process],
    config: ServiceConfig,
    head: Head,
    bundle: Bundle,
) -> None:
    elsewhere = spread["cut"].elsewhere
    assert elsewhere is not None
    await awaited(lambda: elsewhere.replicas == 2)
    assert [len(below(each, REPLICA)) for each in machines] == [1, 1]
    with answering(bundle.manifest, spread, workers=4) as answers:
        async with (
            listening(config, bundle, answers) as service,
            loaded(service, head, bundle) as load,
        ):
            (raylet,) = below(machines[0], "raylet")
            os.kill(raylet, signal.SIGKILL)
            await further(load)
            await awaited(lambda: elsewhere.replicas == 1)
            await further(load)
    assert load.answers["key frames"] <= 1
