"""An empty shelf, on a disk that is never waited for, and a link that is tried again at once."""

import os
from pathlib import Path

import pytest

from isthmus_edge.bundles import Shelf, fetching


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody cuts the power here."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(fetching, "BACKOFF_S", (0.0, 0.0))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "shelf"


@pytest.fixture
def shelf(root: Path) -> Shelf:
    return Shelf(root, "tiny")
