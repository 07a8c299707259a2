"""The formats that carry the picture itself."""

import numpy as np
import pytest
from PIL import features

from isthmus.errors import ConfigError
from isthmus_bench.wire.picture_rivals import picture_rivals
from isthmus_models import evaluation_pictures

RIVALS = {rival.name: rival for rival in picture_rivals()}
PICTURE = evaluation_pictures(1, 64)[0]


@pytest.mark.parametrize("name", RIVALS)
def test_a_picture_comes_back_much_as_it_was(name: str) -> None:
    rival = RIVALS[name]
    decoded = rival.decode(rival.encode(PICTURE))
    assert decoded.shape == PICTURE.shape
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(float) - PICTURE).mean() < 8


def test_png_is_lossless() -> None:
    rival = RIVALS["png"]
    np.testing.assert_array_equal(rival.decode(rival.encode(PICTURE)), PICTURE)


def test_bytes_grow_with_the_quality_and_the_chroma() -> None:
    names = ["jpeg 4:2:0 q75", "jpeg 4:2:0 q90", "jpeg 4:2:0 q95", "jpeg 4:4:4 q95"]
    sizes = [len(RIVALS[name].encode(PICTURE)) for name in names]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(
    ("name", "start"),
    [("webp q90", b"RIFF"), ("avif q80", b"\0\0\0 ftypavif"), ("png", b"\x89PNG")],
)
def test_the_bytes_are_of_that_format(name: str, start: bytes) -> None:
    assert RIVALS[name].encode(PICTURE).startswith(start)


def test_a_pillow_without_avif_is_an_error_and_no_missing_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(features, "check", lambda feature: feature != "avif")
    with pytest.raises(ConfigError, match="cannot write avif"):
        picture_rivals()
