"""What a service promises its devices, whatever computes: this process, or replicas of Ray."""

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from tests.cloud.computing import COMPUTING, RAY_WARNINGS, computing
from tests.cloud.far_gate import FarGate
from tests.cloud.promises.answers import *  # noqa: F403
from tests.cloud.promises.failures import *  # noqa: F403
from tests.cloud.promises.faults import *  # noqa: F403
from tests.cloud.promises.items import *  # noqa: F403
from tests.cloud.promises.keeping import *  # noqa: F403
from tests.cloud.promises.limits import *  # noqa: F403
from tests.cloud.promises.lives import *  # noqa: F403
from tests.cloud.promises.machines import *  # noqa: F403
from tests.cloud.promises.sharing import *  # noqa: F403
from tests.cloud.promises.videos import *  # noqa: F403

from isthmus import Bundle
from isthmus_cloud import RunningService
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.deployments.deployment import TailSource
from isthmus_cloud.telemetry import Happening

pytestmark = RAY_WARNINGS


@pytest.fixture(scope="module")
def happened() -> list[Happening]:
    """What a front end has told of its calls."""
    return []


@pytest.fixture(scope="module", params=COMPUTING)
def source(
    request: pytest.FixtureRequest, gate_path: Path, happened: list[Happening]
) -> Iterator[TailSource]:
    with computing(request.param, happened.append) as source:
        yield source


@pytest.fixture(scope="module")
def tails(source: TailSource, bundle: Bundle) -> Iterator[Mapping[str, Tail]]:
    with source(bundle, ("tiny", "1")) as tails:
        yield tails


@pytest.fixture
async def gate(gate_path: Path, service: RunningService) -> AsyncIterator[FarGate]:
    """Before every batch; of services that end before it goes."""
    with FarGate(gate_path) as gate:
        yield gate
