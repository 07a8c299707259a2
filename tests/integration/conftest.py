"""The real cloud command with the tiny bundle, for a file of tests or for one that may end it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import Cloud


def _cloud(bundle: Path) -> Iterator[Cloud]:
    with Cloud(bundle) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def cloud(tiny_bundle: Path) -> Iterator[Cloud]:
    """One that all tests of a file share."""
    yield from _cloud(tiny_bundle)


@pytest.fixture
def own_cloud(tiny_bundle: Path) -> Iterator[Cloud]:
    """One of the test's own, which may kill it."""
    yield from _cloud(tiny_bundle)
