"""Bytes for people."""

import pytest

from isthmus.sizes import size_text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (14_257, "14.3 KB"),
        (999_949, "999.9 KB"),
        (999_950, "1.0 MB"),
        (67_108_864, "67.1 MB"),
        (999_950_000, "1.0 GB"),
        (3_400_000_000_000, "3400.0 GB"),
    ],
)
def test_a_size_has_the_unit_that_fits(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text
