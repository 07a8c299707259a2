from collections.abc import Mapping

import pytest
from tests.cloud.answering.frames import Jobs
from tests.cloud.device import Head

from isthmus import Bundle
from isthmus_cloud.answering.parts import Tail


@pytest.fixture
async def jobs(bundle: Bundle, tails: Mapping[str, Tail], head: Head) -> Jobs:
    return Jobs(bundle, tails, head)
