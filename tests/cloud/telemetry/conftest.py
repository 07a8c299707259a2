"""What tests of telemetry share."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def loggers() -> Iterator[None]:
    """Those that a start of the log changes are put back afterwards."""
    found = [logging.getLogger(name) for name in ("root", "isthmus", "isthmus_cloud")]
    handlers, levels = list(found[0].handlers), [each.level for each in found]
    yield
    found[0].handlers[:] = handlers
    for logger, level in zip(found, levels, strict=True):
        logger.setLevel(level)
