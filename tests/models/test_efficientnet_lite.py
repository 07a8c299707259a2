"""The catalogue's network recognises real things, and its ONNX form is what it says."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from isthmus import ConfigError, load_picture
from isthmus_models import MODELS, demo_pictures, get_model

LITE0 = MODELS["efficientnet-lite0"]


@pytest.fixture(scope="module")
def session(lite0: Path) -> ort.InferenceSession:
    return ort.InferenceSession(str(lite0), providers=["CPUExecutionProvider"])


def probabilities(session: ort.InferenceSession, pictures: np.ndarray) -> np.ndarray:
    (row,) = session.run(None, {"picture": pictures})
    return np.asarray(row)


def test_at_least_three_of_the_four_demo_pictures_are_recognised(
    session: ort.InferenceSession,
) -> None:
    right = [
        LITE0.labels[int(probabilities(session, d.load(224)[None]).argmax())] in d.true_labels
        for d in demo_pictures()
    ]
    assert sum(right) >= 3


def test_labelled_photos_of_imagenet_are_recognised(session: ort.InferenceSession) -> None:
    """18 of 20 when this was written; the file names carry the class."""
    spec = find_spec("foolbox")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    photos = sorted(Path(spec.submodule_search_locations[0], "data").glob("imagenet_*.jpg"))
    right = [
        probabilities(session, load_picture(photo, 224)[None]).argmax()
        == int(photo.stem.rpartition("_")[2])
        for photo in photos
    ]
    assert len(right) == 20
    assert sum(right) >= 17


def test_a_batch_gives_what_single_pictures_give(session: ort.InferenceSession) -> None:
    pictures = np.stack([d.load(224) for d in demo_pictures()])
    singles = np.concatenate([probabilities(session, p[None]) for p in pictures])
    assert np.allclose(probabilities(session, pictures), singles, atol=1e-5)


def test_the_same_bytes_are_built_every_time(lite0: Path, tmp_path: Path) -> None:
    again = LITE0.build(tmp_path / "again.onnx")
    digests = {hashlib.sha256(p.read_bytes()).hexdigest() for p in (lite0, again)}
    assert len(digests) == 1


def test_there_is_a_label_for_every_class() -> None:
    assert len(LITE0.labels) == 1000
    assert LITE0.labels[985] == "daisy"


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="efficientnet-lite0"):
        get_model("resnet-9000")
