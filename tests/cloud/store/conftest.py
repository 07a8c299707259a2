"""Stores on a disk that is never waited for: an empty one, one with two versions, one served."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cloud.store.bundles import pushed
from tests.cloud.store.serving import Served, serving

from isthmus_cloud.store import Store


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody cuts the power here. The test that asks what is synced listens in its own way."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root)


@pytest.fixture
async def served(store: Store) -> AsyncIterator[Served]:
    async with serving(store) as served:
        yield served


@pytest.fixture
def two(store: Store, tiny_bundle: Path, other_bundle: Path) -> Store:
    """Versions of one model: v1 is active, v2 is not."""
    pushed(store, tiny_bundle, "model", "v1")
    pushed(store, other_bundle, "model", "v2")
    store.set_active("model", "v1")
    return store
