"""From a float ONNX model to labels: build, cloud and edge, as a person would type them."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import PHOTOS, Isthmus
from tests.cli.models import LABELS, float_image
from tests.commands import Cloud
from tests.partitioner.networks import SIZE, saved
from tests.sessions import calm_session

from isthmus import load_picture

MEAN, STD = (120, 110, 100), (60, 61, 62)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(float_image(), tmp_path / "float.onnx")


def label_of(model: Path, photo: Path) -> str:
    """What the exported model itself says, preprocessed by hand."""
    pixels = load_picture(photo, SIZE).astype(np.float32)
    image = ((pixels - np.array(MEAN, np.float32)) / np.array(STD, np.float32)).transpose(2, 0, 1)[
        None
    ]
    session = calm_session(model)
    return LABELS[int(np.argmax(session.run(None, {"image": image})[0]))]


def test_a_float_model_is_built_served_and_gives_its_labels(
    isthmus: Isthmus, model: Path, photos: Path, tmp_path: Path
) -> None:
    names, bundle = tmp_path / "names.txt", tmp_path / "made.bundle"
    names.write_text("".join(f"{label}\n" for label in LABELS), encoding="utf-8")
    built = isthmus(
        "build", model, "--mean", *MEAN, "--std", *STD, "--labels", names, "--out", bundle,
        "--work", tmp_path / "work", "--pictures", photos, "--agreement-floor", 0,
    )  # fmt: skip
    assert built.status == 0, built.err
    with Cloud(bundle) as cloud:
        ended = isthmus(
            "edge", bundle, photos, "--cloud", cloud.address, "--candidate", "input-raw", "--json"
        )
    assert ended.status == 0, ended.err
    report = json.loads(ended.out)
    got = {answer["picture"]: answer["top"][0]["label"] for answer in report["answers"]}
    assert got == {photo.name: label_of(model, photo) for photo in photos.iterdir()}
    assert report["stats"]["accepted"] == PHOTOS
    assert report["stats"]["answered_cloud"] > 0


def test_every_candidate_of_a_built_bundle_can_be_pinned(
    isthmus: Isthmus, model: Path, photos: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "made.bundle"
    built = isthmus(
        "build", model, "--mean", 127, "--std", 64, "--out", bundle, "--work", tmp_path / "work",
        "--pictures", photos, "--agreement-floor", 0, "--edge-network-ms", 500, "--json",
    )  # fmt: skip
    assert built.status == 0, built.err
    kept = json.loads(built.out)["kept"]
    assert {"local", "input-jpeg"} <= set(kept)
    with Cloud(bundle) as cloud:
        for name in kept:
            ended = isthmus(
                "edge", bundle, photos, "--cloud", cloud.address, "--candidate", name, "--json"
            )
            assert ended.status == 0, ended.err
            answers = json.loads(ended.out)["answers"]
            assert {answer["candidate"] for answer in answers} == {name}
            places = {answer["place"] for answer in answers}
            assert ("cloud" in places) == (name != "local")
