"""A change that fails is told once: to whoever asked for it, or in the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.cloud.store.bundles import pushed
from tests.cloud.store.serving import FakeDeployer

from isthmus import ModelError
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.store import Activation, Activations, Store


class Hasty(FakeDeployer):
    """Fails, and whoever asked leaves `turns` turns of the loop later."""

    def __init__(self, store: Store, turns: int) -> None:
        super().__init__(store)
        self._turns = turns
        self.asked_for: asyncio.Task[Activation] | None = None

    async def activate(self, name: str, version: str, move: Callable[[], Awaitable[None]]) -> None:
        self._leave(self._turns)
        raise ModelError("no such operator")

    def _leave(self, turns: int) -> None:
        assert self.asked_for is not None
        if turns:
            asyncio.get_running_loop().call_soon(self._leave, turns - 1)
        else:
            self.asked_for.cancel()


@pytest.mark.parametrize("turns", [0, 1])
async def test_a_failure_in_the_moment_in_which_its_caller_leaves_is_in_the_log(
    store: Store, tiny_bundle: Path, caplog: pytest.LogCaptureFixture, turns: int
) -> None:
    pushed(store, tiny_bundle, "model", "v1")
    caplog.set_level(logging.INFO, "isthmus_cloud.store")
    caplog.clear()
    deployer = Hasty(store, turns)
    with DiskThreads() as disk:
        activations = Activations(store, deployer, disk)
        deployer.asked_for = asyncio.create_task(activations.activate("model", "v1"))
        with pytest.raises(asyncio.CancelledError):
            await deployer.asked_for
    (line,) = caplog.messages
    assert "no such operator" in line
    assert "has gone" in line
    assert not activations._left_alone
