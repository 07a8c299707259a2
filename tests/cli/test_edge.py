"""`isthmus edge`: answers to pictures, and one clear message for all that can be wrong."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import PHOTOS, Isthmus
from tests.cli.models import flip_byte, teach_unknown_op
from tests.commands import PATIENCE_S, Cloud, Command, assert_explained
from tests.reference import Reference
from tests.tinybundle import tiny_pictures
from tests.widebundle import INPUTS, wide_items

from isthmus import load_picture
from isthmus_cli.edge import summary
from isthmus_edge import Stats

NOBODY = "127.0.0.1:1"  # a port that no test and no service listens on
FOREVER = 1_000_000
ROWS = 6


@pytest.fixture
def no_picture(tmp_path: Path) -> Path:
    path = tmp_path / "broken.png"
    path.write_bytes(b"this is no picture")
    return path


def test_every_picture_gets_a_line_with_label_place_and_cost(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path, cloud: Cloud
) -> None:
    ended = isthmus(
        "edge", tiny_bundle, photos, "--cloud", cloud.address, "--candidate", "input-raw"
    )
    assert (ended.status, ended.err) == (0, "")
    *lines, summary = ended.out.splitlines()
    reference = Reference(tiny_bundle)
    for index, line in enumerate(lines):
        name = f"photo-{index}.png"
        probabilities = reference.unsplit(load_picture(photos / name, 32)[None]).reshape(-1)
        best = int(probabilities.argmax())
        assert line.startswith(f"{name}: class {best} ")
        assert line.endswith(", input-raw, 3072 bytes sent)")
    assert len(lines) == PHOTOS
    by_cloud = sum("cloud, input-raw" in line for line in lines)
    assert by_cloud > 0
    assert summary.startswith(
        f"accepted {PHOTOS}, answered {PHOTOS} (cloud {by_cloud}, device {PHOTOS - by_cloud}), "
        "errors 0, lost 0"
    )


def test_json_holds_answers_unreadable_pictures_and_statistics(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path, cloud: Cloud
) -> None:
    ended = isthmus(
        "edge", tiny_bundle, photos, "--cloud", cloud.address, "--json", "--top", 2, "--repeat", 2
    )
    assert (ended.status, ended.err) == (0, "")
    report = json.loads(ended.out, parse_constant=pytest.fail)  # NaN and Infinity are not JSON
    assert report["unreadable"] == 0
    assert len(report["answers"]) == 2 * PHOTOS
    answer = report["answers"][0]
    assert set(answer) == {
        "picture", "top", "place", "candidate", "rung", "latency_ms", "payload_bytes",
    }  # fmt: skip
    assert [set(entry) for entry in answer["top"]] == [{"label", "score"}] * 2
    stats = report["stats"]
    assert stats["accepted"] == stats["answered_cloud"] + stats["answered_device"] == 2 * PHOTOS
    assert (stats["rung"], stats["rate_advice"]) == (0, None)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Items of the wide bundle's model, as `numpy.savez` writes them."""
    items = wide_items(ROWS)
    path = tmp_path / "rows.npz"
    columns: dict[str, Any] = {
        spec.name: np.stack([item[spec.name].reshape(spec.shape) for item in items])
        for spec in INPUTS
    }
    np.savez(path, **columns)
    return path


def test_a_model_that_takes_no_picture_gets_rows_of_arrays(
    isthmus: Isthmus, wide_bundle: Path, rows: Path
) -> None:
    reference = Reference(wide_bundle)
    scores = [reference.expected("local", item).reshape(-1) for item in wide_items(ROWS)]
    best = [int(each.argsort(kind="stable")[-1]) for each in scores]
    assert len(set(best)) > 1
    ended = isthmus("edge", wide_bundle, "--inputs", rows)
    assert (ended.status, ended.err) == (0, "")
    for index, line in enumerate(ended.out.splitlines()[:ROWS]):
        assert line.startswith(f"row {index}: class {best[index]} ")
    ended = isthmus("edge", wide_bundle, "--inputs", rows, "--repeat", 2, "--json")
    answers = json.loads(ended.out)["answers"]
    assert [answer["item"] for answer in answers] == [f"row {i}" for i in range(ROWS)] * 2
    assert [answer["top"][0]["label"] for answer in answers] == [f"class {i}" for i in best * 2]


def test_a_picture_for_a_model_that_takes_none_is_refused_with_the_way_out(
    isthmus: Isthmus, wide_bundle: Path, photos: Path
) -> None:
    ended = isthmus("edge", wide_bundle, photos)
    assert_explained(ended, "'gain' float32 []", "no picture", "--inputs FILE.npz")


def test_a_file_of_arrays_for_another_model_is_refused(
    isthmus: Isthmus, tiny_bundle: Path, rows: Path
) -> None:
    ended = isthmus("edge", tiny_bundle, "--inputs", rows)
    assert_explained(ended, str(rows), "'gain'", "the model takes 'picture' uint8 [n,32,32,3]")


def test_the_summary_ends_with_the_last_candidate_and_its_rung(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path
) -> None:
    ended = isthmus("edge", tiny_bundle, photos)
    assert ended.out.splitlines()[-1].endswith(", last local at rung 0")


def test_a_link_too_thin_for_the_floor_is_told_with_what_would_fit() -> None:
    stats = Stats(
        accepted=1,
        answered_cloud=1,
        answered_device=0,
        errors=0,
        stale=0,
        pending=0,
        duplicates=0,
        connects=1,
        sent_again=0,
        link_state="up",
        link=None,
        candidate="b7",
        rung=3,
        rate_advice="b9 would fit at rung 2",
        device_scale=1.0,
        switches=(),
    )
    *_, line, advice = summary(stats).splitlines()
    assert line.endswith(", last b7 at rung 3")
    assert advice == "no allowed rung fits the link: b9 would fit at rung 2"


def test_a_rung_can_be_pinned_and_video_and_rate_control_switched_off(
    isthmus: Isthmus,
    tiny_bundle: Path,
    photos: Path,
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same picture over and over: as differences it takes next to nothing."""
    # On a link as fast as loopback can be, symbols are not entropy coded.
    monkeypatch.setattr("isthmus_edge.stream.pipeline.FAST_LINK_BPS", math.inf)
    flags = ("--cloud", cloud.address, "--candidate", "cut-16@0", "--json", "--repeat", 8)
    sent_bytes = []
    for video in ("auto", "off"):
        ended = isthmus(
            "edge", tiny_bundle, photos / "photo-0.png", *flags, "--fixed-rung", "--video", video
        )
        assert (ended.status, ended.err) == (0, "")
        answers = json.loads(ended.out)["answers"]
        assert {(answer["candidate"], answer["rung"]) for answer in answers} == {("cut-16", 0)}
        sent_bytes.append(answers[-1]["payload_bytes"])
    as_difference, alone = sent_bytes
    assert as_difference < 0.5 * alone


def test_the_device_answers_alone_without_a_cloud(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path
) -> None:
    ended = isthmus("edge", tiny_bundle, photos / "photo-0.png")
    assert ended.status == 0
    assert "device, local, 0 bytes sent)" in ended.out


def test_a_picture_that_cannot_be_decoded_is_named_and_the_others_are_answered(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path, no_picture: Path
) -> None:
    first, last = photos / "photo-0.png", photos / "photo-1.png"
    ended = isthmus("edge", tiny_bundle, first, no_picture, last)
    assert_explained(ended, str(no_picture), "cannot be decoded", "give a whole JPEG, PNG")
    assert [line.partition(":")[0] for line in ended.out.splitlines()[:2]] == [
        "photo-0.png",
        "photo-1.png",
    ]
    assert "accepted 2, answered 2" in ended.out


def test_json_counts_the_pictures_that_cannot_be_decoded(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path, no_picture: Path
) -> None:
    ended = isthmus("edge", tiny_bundle, no_picture, photos / "photo-0.png", "--json")
    assert_explained(ended, str(no_picture))
    report = json.loads(ended.out)
    assert report["unreadable"] == 1
    assert [answer["picture"] for answer in report["answers"]] == ["photo-0.png"]


def test_a_picture_cut_short_is_named(isthmus: Isthmus, tiny_bundle: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.jpg"
    Image.fromarray(tiny_pictures(1)[0][0]).resize((200, 200)).save(torn)
    torn.write_bytes(torn.read_bytes()[:900])
    assert_explained(isthmus("edge", tiny_bundle, torn), str(torn), "cannot be decoded")


def test_a_folder_without_pictures_is_named(
    isthmus: Isthmus, tiny_bundle: Path, tmp_path: Path
) -> None:
    assert_explained(isthmus("edge", tiny_bundle, tmp_path), str(tmp_path), "no pictures", ".jpg")


@pytest.mark.parametrize("name", ["device/segment-0.onnx", "device/segment-1.onnx", "labels.txt"])
def test_a_flipped_byte_in_the_bundle_is_found_before_anything_runs(
    isthmus: Isthmus, copy: Path, photos: Path, name: str
) -> None:
    flip_byte(copy / name)
    ended = isthmus("edge", copy, photos)
    assert_explained(ended, str(copy / name), "damaged", "copy the bundle again")
    assert ended.out == ""


def test_a_flipped_byte_in_the_manifest_is_found(
    isthmus: Isthmus, copy: Path, photos: Path, cloud: Cloud
) -> None:
    """Where it is still a manifest: the other side's fingerprint gives it away."""
    manifest = copy / "bundle.json"
    content = manifest.read_bytes()
    manifest.write_bytes(content.replace(b'"edge_ms": 100', b'"edge_ms": 101'))
    assert manifest.read_bytes() != content
    ended = isthmus("edge", copy, photos, "--cloud", cloud.address, "--require-cloud")
    assert_explained(ended, "refused this device", "isthmus activate", "isthmus fetch")
    manifest.write_bytes(content.replace(b'"edge_ms"', b'"edge_mt"', 1))
    assert_explained(isthmus("edge", copy, photos), str(manifest), "build the bundle again")


def test_a_folder_that_is_no_bundle_is_named(
    isthmus: Isthmus, tmp_path: Path, photos: Path
) -> None:
    ended = isthmus("edge", tmp_path, photos)
    assert_explained(ended, str(tmp_path), "no bundle here", "isthmus build")


def test_an_op_that_the_devices_runtime_lacks_is_named(
    isthmus: Isthmus, copy: Path, photos: Path
) -> None:
    teach_unknown_op(copy, "device/segment-1.onnx")
    ended = isthmus("edge", copy, photos)
    assert_explained(ended, "device/segment-1.onnx", "Frobnicate", "install a newer onnxruntime")


def test_a_device_with_other_weights_than_the_cloud_is_refused_and_answers_alone(
    isthmus: Isthmus,
    other_bundle: Path,
    photos: Path,
    cloud: Cloud,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended = isthmus("edge", other_bundle, photos, "--cloud", cloud.address)
    assert ended.status == 0
    assert f"(cloud 0, device {PHOTOS})" in ended.out
    (warning,) = (each.message for each in caplog.records if each.levelname == "WARNING")
    for words in ("weights differ", "answers alone", "isthmus push", "isthmus activate"):
        assert words in warning
    needed = isthmus("edge", other_bundle, photos, "--cloud", cloud.address, "--require-cloud")
    assert_explained(needed, "weights differ", "isthmus activate", "--require-cloud")
    assert needed.out == ""


def test_a_cloud_that_is_not_there_is_named_with_the_ways_out(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path
) -> None:
    ended = isthmus("edge", tiny_bundle, photos, "--cloud", NOBODY, "--require-cloud")
    assert_explained(ended, NOBODY, "isthmus cloud BUNDLE", "leave out", "--require-cloud")
    assert ended.out == ""


def test_the_device_may_start_without_its_cloud(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended = isthmus("edge", tiny_bundle, photos, "--cloud", NOBODY)
    assert ended.status == 0
    assert "the device answers alone until the cloud is there" in caplog.text
    assert f"(cloud 0, device {PHOTOS})" in ended.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--candidate", "cut-16"), ("'cut-16'", "needs a cloud")),
        (("--candidate", "nonsense"), ("'nonsense'", "local, input-raw", "cut-16")),
        (("--candidate", "cut-16@1"), ("'cut-16@1'", "no rung '1'", "from the finest: 0")),
        (("--cloud", "nowhere"), ("'nowhere'", "HOST:PORT")),
        (("--cloud", "192.0.2.1:50051"), ("192.0.2.1:50051", "--tls-ca", "--insecure")),
        (("--cloud", NOBODY, "--tls-ca", "no.pem"), ("no.pem", "PEM")),
    ],
    ids=" ".join,
)
def test_a_setting_that_cannot_be_used_is_named_with_what_can(
    isthmus: Isthmus,
    tiny_bundle: Path,
    photos: Path,
    flags: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    assert_explained(isthmus("edge", tiny_bundle, photos, *flags), *words)


@pytest.mark.parametrize("flag", ["--top", "--repeat"])
def test_a_number_that_leaves_nothing_to_do_is_refused(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path, flag: str
) -> None:
    for number in ("0", "-1"):
        ended = isthmus("edge", tiny_bundle, photos, flag, number)
        assert ended.status in {1, 2}
        assert flag.strip("-") in ended.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
def test_a_signal_ends_the_device_with_its_closing_line(
    tiny_bundle: Path, photos: Path, signum: int, status: int
) -> None:
    with Command("edge", tiny_bundle, photos, "--repeat", FOREVER) as device:
        device.line("photo-0.png")
        ended = device.told(signum)
    assert (ended.status, ended.err) == (status, "")
    last = ended.out.splitlines()[-1]
    assert last.startswith("accepted ")
    assert "errors 0, lost 0" in last


def test_a_reader_that_goes_away_ends_the_device_without_a_word(
    tiny_bundle: Path, photos: Path
) -> None:
    """`isthmus edge … | head -1`."""
    flags = [str(tiny_bundle), str(photos), "--repeat", str(FOREVER)]
    with subprocess.Popen(
        [sys.executable, "-m", "isthmus_cli", "edge", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as device:
        assert device.stdout is not None
        assert device.stderr is not None
        os.read(device.stdout.fileno(), 1)
        device.stdout.close()
        assert device.wait(PATIENCE_S) == 1
        assert device.stderr.read() == b""
