"""Tests of what a service promises; `tests/cloud/test_service.py` runs them on every engine."""

import pytest

for room in ("answers", "failures", "items", "limits", "lives", "videos"):
    pytest.register_assert_rewrite(f"{__name__}.{room}")  # by their names they are no tests
