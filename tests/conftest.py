"""Fixtures that the tests of several rooms share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.tinybundle import build_tiny_bundle
from tests.widebundle import build_wide_bundle

from isthmus import Chain
from isthmus_edge import agent
from isthmus_edge.policy.vitals import Vitals
from isthmus_models import MODELS
from isthmus_partitioner.parts import timing
from isthmus_partitioner.planning import trying
from isthmus_partitioner.wire import through

# A busy machine is no failure: speed is for the benchmarks.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def hasty_plans() -> Iterator[None]:
    """Plans take no pauses between what they time, and do not measure what heads weigh.

    Some forty plans are made in the tests, and none of them asserts times. Memory has tests of its
    own.
    """

    def unmeasured(chain: Chain, *_: object) -> tuple[int, ...]:
        return (0,) * (1 + len(chain.segments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "PAUSE_S", 0.0)
        patch.setattr(through, "_PAUSE_S", 0.0)
        patch.setattr(trying, "chain_memory", unmeasured)
        yield


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


@pytest.fixture(scope="session")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0 as ONNX, uint8 picture [N,224,224,3] in; read only."""
    return MODELS["efficientnet-lite0"].build(tmp_path_factory.mktemp("models") / "lite0.onnx")
