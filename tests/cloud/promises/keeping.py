"""Applications of Ray Serve are one for all front ends, and are made again if they go."""

import threading
from functools import partial

import pytest
from tests.cloud.computing import MOST
from tests.cloud.device import Head, Truth, connected
from tests.cloud.replicas.load import answered
from tests.cloud.replicas.processes import REPLICA, awaited, processes, replaced

from isthmus import Bundle
from isthmus_cloud import RunningService
from isthmus_cloud.deployments.deployment import TailSource
from isthmus_cloud.replicas.applications import Applications
from isthmus_cloud.replicas.settings import RaySettings
from isthmus_cloud.replicas.spec import specs_of

on_replicas = pytest.mark.parametrize("source", ["ray"], indirect=True)


@pytest.fixture
def settings(source: TailSource) -> RaySettings:
    """Of the first front end."""
    assert isinstance(source, partial)
    found = source.args[0].settings
    assert isinstance(found, RaySettings)
    return found


@on_replicas
async def test_front_ends_share_replicas_and_have_new_ones_if_somebody_deletes_them(
    service: RunningService, settings: RaySettings, head: Head, bundle: Bundle
) -> None:
    from isthmus_cloud.replicas.serving import RayServing  # noqa: PLC0415 - it needs Ray

    await replaced(REPLICA, set(), 2)
    replicas, frame = processes(REPLICA), head.frame("cut-16", 1)
    serving = RayServing(settings)
    another = Applications(serving, settings, "another", threading.Event().wait)
    (spec,) = specs_of(bundle, settings, MOST)
    with another.used([spec]) as (name,):
        serving.make({name: spec}, {name: "1"})  # as one that has looked too early
        with another.used([spec]):
            assert processes(REPLICA) == replicas

        def are_going() -> bool:
            """Deployed again before Serve ends them, it would keep them."""
            serving.delete([name])
            return not replicas <= processes(REPLICA)

        await awaited(are_going)
        another.look_after()
        await replaced(REPLICA, replicas, 2)
        async with connected(service.address) as device:
            await device.hello(bundle.fingerprint)
            await answered(device, frame, Truth(bundle).of(frame))
