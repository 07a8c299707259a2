"""A listener that stands for the cloud, and a relay to it that is as new for each test."""

import socket
from collections.abc import Iterator

import pytest
from tests.bench.relay.ends import PATIENCE_S, target

from isthmus_bench.relay import LinkShape, Relay


@pytest.fixture(scope="module")
def cloud() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        yield listener


@pytest.fixture(scope="module")
def shared_relay(cloud: socket.socket) -> Iterator[Relay]:
    with Relay(target(cloud)) as relay:
        yield relay


@pytest.fixture
def relay(shared_relay: Relay) -> Relay:
    shared_relay.run_script([])
    shared_relay.half_open(False)
    shared_relay.refuse(False)
    shared_relay.shape(LinkShape())
    shared_relay.reset()
    return shared_relay
