"""Fixtures that the tests of several rooms share."""

from pathlib import Path

import pytest

from tests.tinybundle import build_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny real bundle; read only, copy it before changing a byte."""
    return build_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with other weights: another fingerprint."""
    return build_tiny_bundle(tmp_path_factory.mktemp("bundle") / "other", seed=1)
