"""Only what is certainly this machine may be spoken to in plain text without a word."""

import pytest

from isthmus import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


EVERYWHERE = "0.0.0.0"  # noqa: S104 (nothing is bound here)


@pytest.mark.parametrize("host", [EVERYWHERE, "10.0.0.1", "::", "[::]", "", "localhost.example"])
def test_anything_else_is_not(host: str) -> None:
    assert not is_loopback(host)
