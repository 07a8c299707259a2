"""`isthmus plan FILE.tflite`: planned like any other network, or refused in one line."""

import json
from pathlib import Path

from tests.cli.conftest import Isthmus
from tests.commands import assert_explained
from tests.partitioner.tflite_source.tflites import Tflite, quantised_network, small_network

QUICK = ("--steps", "1/4", "--formats", "jpeg", "--qualities", 95, "--no-bottleneck", "--quiet")


def test_a_tflite_file_is_profiled(isthmus: Isthmus, photos: Path, tmp_path: Path) -> None:
    path = small_network().save(tmp_path / "net.tflite")
    items = ("--pictures", photos, "--work", tmp_path / "work", "--mean", 127.5, "--std", 127.5)
    ended = isthmus("profile", path, *items, "--json")
    assert ended.status == 0, ended.err
    assert "t3" in {node["name"] for node in json.loads(ended.out)["nodes"]}  # the first layer
    assert "note: imported from TFLite, 7 operations" in ended.err


def test_a_quantised_tflite_file_is_planned(isthmus: Isthmus, photos: Path, tmp_path: Path) -> None:
    path = quantised_network().save(tmp_path / "net.tflite")
    items = ("--pictures", photos, "--work", tmp_path / "work")
    slow = ("--edge-network-ms", 500, "--agreement-floor", 0)
    ended = isthmus("plan", path, *items, *slow, *QUICK, "--json")
    assert ended.status == 0, ended.err
    plan = json.loads(ended.out)
    assert plan["manifest"]["model_name"] == "net"
    assert [each["shape"] for each in plan["manifest"]["inputs"]] == [[8, 8, 3]]
    candidates = {each["id"] for each in plan["manifest"]["candidates"]}
    assert {"local", "input-raw", "input-jpeg"} <= candidates
    assert "against that network, not against the file" in " ".join(plan["record"]["notes"])


def test_an_operation_that_cannot_be_imported_ends_the_command(
    isthmus: Isthmus, tmp_path: Path
) -> None:
    build = Tflite()
    image = build.input(1, 8, 8, 3)
    path = build.save(tmp_path / "net.tflite", build.make("HASHTABLE", [image], (1, 8, 8, 3)))
    ended = isthmus("plan", path, "--work", tmp_path / "work")
    assert_explained(ended, "net.tflite", "HASHTABLE", "convert the model to ONNX")


def test_a_damaged_file_ends_the_command(isthmus: Isthmus, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(small_network().data()[:400])
    ended = isthmus("profile", path, "--work", tmp_path / "work")
    assert_explained(ended, "net.tflite", "damaged", "copy or convert it again")
