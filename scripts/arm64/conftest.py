"""In place of tests/conftest.py where only the edge half is installed: see `scripts/test-arm64`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.tinybundle import build_tiny_bundle
from tests.widebundle import build_wide_bundle

from isthmus_edge import agent
from isthmus_edge.policy.vitals import Vitals

# An emulated processor is slow, and what is random is tested at length elsewhere.
settings.register_profile("emulated", deadline=None, max_examples=5)
settings.load_profile("emulated")


@pytest.fixture(scope="session", autouse=True)
def calm_device() -> Iterator[None]:
    """Agents of this process do not feel how crowded the machine of the tests is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agent, "read_vitals", Vitals)
        yield


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As in the whole house."""
    return build_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As in the whole house."""
    return build_tiny_bundle(tmp_path_factory.mktemp("bundle") / "other", seed=1)


@pytest.fixture(scope="session")
def wide_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As in the whole house."""
    return build_wide_bundle(tmp_path_factory.mktemp("bundle") / "wide")
