"""An empty store, on a disk that is never waited for."""

import os
from pathlib import Path

import pytest

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
