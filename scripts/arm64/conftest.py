"""In place of tests/conftest.py where only the edge half is installed: see `scripts/test-arm64`."""

from hypothesis import settings
from tests.device_fixtures import *  # noqa: F403

# An emulated processor is slow, and what is random is tested at length elsewhere.
settings.register_profile("emulated", deadline=None, max_examples=5)
settings.load_profile("emulated")
