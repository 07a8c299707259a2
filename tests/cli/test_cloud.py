"""`isthmus cloud`: one line when devices may come, a clear message when it cannot start."""

import re
import shutil
import signal
import socket
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.cli.models import flip_byte, teach_unknown_op
from tests.commands import Cloud, assert_explained

from isthmus import open_bundle


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that may be damaged."""
    return shutil.copytree(tiny_bundle, tmp_path / "copied.bundle")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_drain_it(tiny_bundle: Path, signum: signal.Signals) -> None:
    with Cloud(tiny_bundle) as cloud:
        ended = cloud.told(signum)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines()[-1] == "stopped"
    assert "draining" in ended.out


def test_it_says_where_it_listens_and_what_it_serves(tiny_bundle: Path, cloud: Cloud) -> None:
    fingerprint = open_bundle(tiny_bundle, "cloud").fingerprint[:12]
    served = f"(CPUExecutionProvider, 4 candidates, bundle {fingerprint})"
    line = cloud.announcement.strip()
    assert re.fullmatch(rf"listening on 127\.0\.0\.1:[1-9]\d* {re.escape(served)}", line)


@pytest.mark.parametrize("name", ["cloud/tail-1.onnx", "cloud/entry-cut.onnx", "labels.txt"])
def test_a_flipped_byte_in_the_bundle_is_found_before_anything_runs(
    isthmus: Isthmus, copy: Path, name: str
) -> None:
    flip_byte(copy / name)
    ended = isthmus("cloud", copy)
    assert_explained(ended, str(copy / name), "damaged", "copy the bundle again")
    assert ended.out == ""


def test_a_file_cut_short_is_named_with_both_sizes(isthmus: Isthmus, copy: Path) -> None:
    tail = copy / "cloud" / "tail-1.onnx"
    size = tail.stat().st_size
    tail.write_bytes(tail.read_bytes()[:-1])
    assert_explained(isthmus("cloud", copy), str(tail), f"{size - 1} bytes", str(size))


def test_a_missing_file_is_named(isthmus: Isthmus, copy: Path) -> None:
    tail = copy / "cloud" / "tail-1.onnx"
    tail.unlink()
    assert_explained(isthmus("cloud", copy), str(tail), "copy the bundle again")


def test_an_op_that_the_clouds_runtime_lacks_is_named(isthmus: Isthmus, copy: Path) -> None:
    teach_unknown_op(copy, "cloud/tail-1.onnx")
    ended = isthmus("cloud", copy, "--provider", "cpu")
    assert_explained(ended, "cloud/tail-1.onnx", "Frobnicate", "build the bundle again")


def test_a_folder_that_is_no_bundle_is_named(isthmus: Isthmus, tmp_path: Path) -> None:
    assert_explained(isthmus("cloud", tmp_path), str(tmp_path), "no bundle here", "isthmus build")


def test_an_address_that_is_taken_is_named(isthmus: Isthmus, tiny_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = isthmus("cloud", tiny_bundle, "--listen", f"127.0.0.1:{port}")
    assert_explained(ended, f"127.0.0.1 port {port}", "in use", "port 0 for a free one")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--listen", "50051"), ("'50051'", "HOST:PORT")),
        (("--listen", "0.0.0.0:0"), ("0.0.0.0:0", "TLS", "--insecure")),
        (("--window", "0"), ("window", "at least 1")),
        (("--workers", "-1"), ("workers", "at least 1")),
        (("--max-bytes-in-flight", "0"), ("max_bytes_in_flight", "at least 1")),
        (("--max-bytes-in-flight", "9999"), ("max_bytes_in_flight is 9999", "candidate 'input-")),
        (("--drain-grace", "-1"), ("drain_grace_s", "0 to 3600")),
        (("--tls-cert", "server.pem"), ("TLS needs both",)),
        (("--tls-cert", "no.pem", "--tls-key", "no.key"), ("no.pem", "no.key", "PEM")),
    ],
    ids=" ".join,
)
def test_a_setting_that_cannot_be_used_is_named_with_what_can(
    isthmus: Isthmus, tiny_bundle: Path, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_explained(isthmus("cloud", tiny_bundle, *flags), *words)
