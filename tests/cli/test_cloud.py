"""`isthmus cloud`: one line when devices may come, a clear message when it cannot start."""

import argparse
import errno
import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.cli.models import flip_byte, teach_unknown_op
from tests.cloud.telemetry.observability import ALWAYS, logged
from tests.commands import Cloud, Command, assert_explained

from isthmus import open_bundle
from isthmus_cli.cloud import _announce, add_arguments
from isthmus_cli.cloud_web import web_settings


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_drain_it(tiny_bundle: Path, signum: signal.Signals) -> None:
    with Cloud(tiny_bundle) as cloud:
        ended = cloud.told(signum)
    assert ended.status == 0
    lines = list(map(json.loads, ended.err.splitlines()))
    assert [line["event"] for line in lines] == ["activated", "listening", "draining", "stopped"]
    assert all(line.keys() - ALWAYS <= logged()[line["event"]] for line in lines)
    assert f"listening on {lines[1]['address']} " in cloud.announcement
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
        (("--window", "0"), ("--window is 0", "1 to 1024")),
        (("--workers", "-1"), ("--workers is -1", "1 to 1024")),
        (("--max-streams", "0"), ("--max-streams is 0", "1 to 1000000")),
        (("--max-connections", "9999999999"), ("--max-connections is", "1 to 1000000")),
        (("--linger-ms", "-1"), ("--linger-ms is -1", "0 to 3600000")),
        (("--max-bytes-in-flight", "0"), ("--max-bytes-in-flight is 0", "1 to")),
        (("--max-bytes-in-flight", "9999"), ("max_bytes_in_flight is 9999", "candidate 'input-")),
        (("--max-message-bytes", "9999"), ("max_message_bytes is 9999", "at least --max-message")),
        (("--drain-grace", "-1"), ("--drain-grace is -1", "0 to 3600")),
        (("--tls-cert", "server.pem"), ("TLS needs both", "--tls-key")),
        (("--trace-share", "0.5"), ("--trace-share", "add --traces URL")),
        (("--http-token-file", "t"), ("--http-token-file", "add --http HOST:PORT")),
        (("--http-insecure",), ("--http-insecure", "add --http HOST:PORT")),
        (("--http-host", "cloud"), ("--http-host", "add --http HOST:PORT")),
        (("--http", "8080"), ("'8080'", "HOST:PORT")),
        (
            ("--http", "0.0.0.0:0"),
            ("--http 0.0.0.0:0", "--tls-cert", "--http-token-file", "--http-insecure"),
        ),
        (("--tls-cert", "no.pem", "--tls-key", "no.key"), ("no.pem", "no.key", "PEM")),
    ],
    ids=" ".join,
)
def test_a_setting_that_cannot_be_used_is_named_with_what_can(
    isthmus: Isthmus, tiny_bundle: Path, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ended = isthmus("cloud", tiny_bundle, *flags)
    assert_explained(ended, *words)


def test_a_certificate_or_an_address_that_cannot_be_had_is_told_before_the_tails_are_loaded(
    isthmus: Isthmus, tiny_bundle: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate", encoding="ascii")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        for flags in (
            ("--listen", place),
            ("--http", place),
            ("--tls-cert", wrong, "--tls-key", wrong),
        ):
            ended = isthmus("cloud", tiny_bundle, *flags)
            assert (ended.status, ended.out) == (1, "")


def test_a_port_for_the_privileged_is_told_with_what_to_do(
    isthmus: Isthmus, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refused)
    ended = isthmus("cloud", tiny_bundle, "--listen", "127.0.0.1:443")
    assert_explained(ended, "127.0.0.1 port 443", "Permission denied", "CAP_NET_BIND_SERVICE")


def test_a_store_that_is_not_there_is_made_and_that_is_said(tmp_path: Path) -> None:
    store = tmp_path / "models"
    with Command("cloud", "--store", store) as cloud:
        assert str(store) in cloud.line("was made")
        assert "serves nothing yet" in cloud.line("listening on ")
        assert store.is_dir()
        assert cloud.told(signal.SIGTERM).status == 0


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("no/models", ("there is no", "make that first")),
        ("file", ("not a directory",)),
        ("file/models", ("cannot be looked at or made", "Not a directory", "chown")),
    ],
)
def test_a_store_that_cannot_be_is_named(
    isthmus: Isthmus, tmp_path: Path, place: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = tmp_path / place
    assert_explained(isthmus("cloud", "--store", store), str(store), *words)
    assert not store.is_dir()


def test_a_store_that_may_not_be_read_is_named_with_whose_it_should_be(
    isthmus: Isthmus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read anything
    ended = isthmus("cloud", "--store", tmp_path)
    assert_explained(ended, str(tmp_path), "may not read", f"chown -R {os.geteuid()}")


def test_the_page_is_plain_on_this_machine_and_else_has_the_services_tls(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-the-page", encoding="ascii")
    tls = ("--tls-cert", "c.pem", "--tls-key", "k.pem")
    here = web_settings(flags("--http", "127.0.0.1:8080", "--http-host", "cloud", *tls))
    asking = web_settings(flags("--http", "[::1]:8080", "--http-token-file", str(token), *tls))
    beyond = web_settings(flags("--http", "0.0.0.0:8080", "--http-insecure", *tls))
    assert here is not None
    assert (here.has_tls, here.hosts) == (False, ("cloud",))
    assert [each.has_tls for each in (asking, beyond) if each is not None] == [True, True]
    assert web_settings(flags(*tls)) is None


def flags(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["net.bundle", *given])


def test_whoever_reads_it_may_go_without_keeping_it_from_draining(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = []
    monkeypatch.setattr("isthmus_cli.cloud.drop_output", lambda: dropped.append(True))

    def gone(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "the terminal was closed")

    monkeypatch.setattr("builtins.print", gone)
    _announce("stopped")
    assert dropped == [True]
