"""The first contact with a cloud: how long it is waited for, and what is told if it fails."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from isthmus import LinkError
from isthmus_edge import AgentConfig
from isthmus_edge.background import Background
from isthmus_edge.stream.uplink import State, Uplink


class Stub:
    """A link that is welcomed at once or never, then in `state`, and never measured."""

    def __init__(self, state: State, *, welcomed: bool) -> None:
        self.state: State = "down"
        self.measured = asyncio.Event()
        self._later = state
        self._welcomed = welcomed

    async def run(self, first: asyncio.Future[None]) -> None:
        self.state = self._later
        if self._welcomed:
            first.set_result(None)
        await asyncio.Event().wait()


async def told_of(stub: Stub, *, require_cloud: bool) -> list[str]:
    """What people hear of the first contact."""
    told: list[str] = []
    background = Background()
    config = AgentConfig(
        bundle=Path("lite0"),
        cloud="10.0.0.1:50051",
        insecure=True,
        connect_timeout_s=0.01,
        require_cloud=require_cloud,
    )
    try:
        await background.contact(cast("Uplink", stub), config, told.append)
    finally:
        await background.end()
    return told


@pytest.mark.parametrize("require_cloud", [True, False])
@pytest.mark.parametrize("state", ["up", "draining"])
async def test_a_link_that_is_up_and_too_slow_to_be_measured_in_time_is_a_link(
    state: State, require_cloud: bool
) -> None:
    assert await told_of(Stub(state, welcomed=True), require_cloud=require_cloud) == []


@pytest.mark.parametrize(
    ("welcomed", "words"),
    [
        (False, "no answer within 0.01 s; is the address right"),
        (True, "a service answered, and within 0.01 s the link was gone again"),
    ],
)
async def test_a_link_that_is_not_there_in_time_is_told_by_whether_anybody_answered(
    welcomed: bool, words: str
) -> None:
    (told,) = await told_of(Stub("down", welcomed=welcomed), require_cloud=False)
    assert told.startswith(words)
    assert told.endswith(": the device answers alone until the cloud is there")
    with pytest.raises(LinkError, match=words):
        await told_of(Stub("down", welcomed=welcomed), require_cloud=True)
