"""Several services: one dies or drains, and its device goes on at another one."""

import signal
from pathlib import Path
from random import Random

import pytest
from tests.commands import Cloud, until
from tests.edge.stream.clouds import Names
from tests.integration.faults.settling import Settle
from tests.integration.faults.traffic import WINDOW, Traffic, opened

from isthmus_edge.stream import ways

HERE, BESIDE = "127.0.0.1", "127.0.0.2"  # a Linux machine is all of 127.0.0.0/8


def there(traffic: Traffic) -> str:
    """The address of the service that the device is connected to; empty while there is none."""
    service = traffic.agent.stats().service
    return "" if service is None else service.address


class Listed(Random):
    """Draws no lots: the address that is named first has the first turn."""

    def randint(self, a: int, b: int) -> int:
        return b


@pytest.fixture
def staying(cloud: Cloud) -> Cloud:
    """The service to go to."""
    return cloud


@pytest.fixture
def leaving(own_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The one where the device is at first, if it is named first."""
    monkeypatch.setattr(ways, "SystemRandom", Listed)
    return own_cloud


@pytest.mark.fault("replica killed")
def test_frames_in_flight_when_a_replica_is_killed_are_answered_and_the_next_go_to_another(
    tiny_bundle: Path, settle: Settle, leaving: Cloud, staying: Cloud
) -> None:
    with opened(tiny_bundle, f"{leaving.address},{staying.address}") as traffic:
        traffic.flow_until_answered_by("cloud")
        assert there(traffic) == leaving.address
        leaving.process.send_signal(signal.SIGSTOP)  # or it might answer before it dies
        traffic.send(WINDOW)
        leaving.process.kill()
        traffic.flow_until_answered_by("cloud", 2 * WINDOW)
        assert there(traffic) == staying.address
        tally = settle(traffic)
    assert tally.errors == 0


@pytest.mark.fault("replica drains")
def test_a_replica_that_is_told_to_end_under_load_loses_nothing(
    tiny_bundle: Path, settle: Settle, leaving: Cloud, staying: Cloud
) -> None:
    with opened(tiny_bundle, f"{leaving.address},{staying.address}") as traffic:
        traffic.flow_until_answered_by("cloud")
        assert there(traffic) == leaving.address
        traffic.send(WINDOW)
        leaving.process.send_signal(signal.SIGTERM)
        traffic.flow(lambda: there(traffic) == staying.address, "the device is at the other one")
        assert leaving.ended().status == 0
        traffic.flow_until_answered_by("cloud", 2 * WINDOW)
        tally = settle(traffic)
    assert tally.errors == 0


@pytest.mark.fault("all replicas down")
def test_a_name_with_two_addresses_whose_services_are_both_down_until_one_is_back(
    tiny_bundle: Path, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(cloud=(HERE, BESIDE))
    monkeypatch.setattr(ways, "SystemResolver", lambda: names)
    with Cloud(tiny_bundle) as one:
        port = one.address.rpartition(":")[2]
        with (
            Cloud(tiny_bundle, f"{BESIDE}:{port}") as two,
            opened(tiny_bundle, f"dns:cloud:{port}", insecure=True) as traffic,
        ):
            traffic.flow_until_answered_by("cloud")
            one.process.kill()
            two.process.kill()
            traffic.flow(lambda: traffic.agent.stats().link_state == "down", "none is there")
            traffic.flow_until_answered_by("device")
            one.ended()
            with Cloud(tiny_bundle, one.address):
                traffic.flow_until_answered_by("cloud", WINDOW)
                assert there(traffic) == one.address
                tally = settle(traffic)
    assert tally.errors == 0
    assert min(tally.cloud, tally.device) > 0
    until(lambda: set(names.asked) == {"cloud"}, "the name was looked up")
