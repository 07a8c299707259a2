"""Fixtures that need the edge half only: bundles, and a device that is calm.

Also those of `scripts/arm64/conftest.py`, which stands in for `tests/conftest.py` on a device.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tinybundle import build_tiny_bundle
from tests.widebundle import build_wide_bundle

from isthmus_edge import agent
from isthmus_edge.policy.vitals import Vitals

__all__ = ["calm_device", "other_bundle", "tiny_bundle", "wide_bundle"]


@pytest.fixture(scope="session", autouse=True)
def calm_device() -> Iterator[None]:
    """Agents of this process do not feel how crowded the machine of the tests is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agent, "read_vitals", Vitals)
        yield


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny real bundle; read only, copy it before changing a byte."""
    return build_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with other weights: another fingerprint."""
    return build_tiny_bundle(tmp_path_factory.mktemp("bundle") / "other", seed=1)


@pytest.fixture(scope="session")
def wide_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real bundle with floats, ladders, stages and a cut of two tensors; read only."""
    return build_wide_bundle(tmp_path_factory.mktemp("bundle") / "wide")
