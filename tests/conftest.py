"""Fixtures that the tests of several rooms share."""

import gc
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.device_fixtures import *  # noqa: F403
from tests.long_files import long_first
from tests.trials import try_here

from isthmus import Chain
from isthmus_edge.profiling import runner
from isthmus_models import MODELS
from isthmus_partitioner import runtime
from isthmus_partitioner.parts import timing
from isthmus_partitioner.planning import trying
from isthmus_partitioner.wire import through

# A busy machine is no failure: speed is for the benchmarks.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays, so nobody looks for garbage meanwhile."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest begin first, so that no process is left alone with one."""
    items.sort(key=long_first(items))


def pytest_collection_finish() -> None:
    """Nor does anybody look among it later."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def hasty_plans() -> Iterator[None]:
    """Plans take no pauses between what they time, and start no processes to measure a device.

    Nor have their sessions more threads than one: several files of tests want the cores at once.
    Some forty plans are made in the tests, and none of them asserts times. What heads weigh, and
    networks that are tried in processes of their own, have tests of their own.
    """
    calm = runtime.session_options

    def unmeasured(chain: Chain, *_: object) -> tuple[int, ...]:
        return (0,) * (1 + len(chain.segments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "session_options", lambda _threads: calm(1))
        patch.setattr(timing, "PAUSE_S", 0.0)
        patch.setattr(through, "_PAUSE_S", 0.0)
        patch.setattr(trying, "chain_memory", unmeasured)
        patch.setattr(runner, "try_alone", try_here)
        yield


@pytest.fixture(scope="session")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0 as ONNX, uint8 picture [N,224,224,3] in; read only."""
    return MODELS["efficientnet-lite0"].build(tmp_path_factory.mktemp("models") / "lite0.onnx")
