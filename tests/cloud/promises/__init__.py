"""Tests of what a service promises; `tests/cloud/test_service.py` runs them on every engine."""

from pathlib import Path

import pytest

for room in Path(__file__).parent.glob("*.py"):
    pytest.register_assert_rewrite(f"{__name__}.{room.stem}")  # by their names they are no tests
