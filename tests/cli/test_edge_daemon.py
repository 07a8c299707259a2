"""`isthmus edge check` and `isthmus edge status`: what is shown, and what is refused."""

import json
from pathlib import Path

from tests.cli.conftest import Isthmus
from tests.commands import assert_explained, until
from tests.edge.daemon.files import CONTROL, RunningDaemon, put_picture, write_config


def test_a_running_daemon_says_how_it_is(
    isthmus: Isthmus, tiny_bundle: Path, tmp_path: Path
) -> None:
    config = write_config(
        tmp_path, tiny_bundle, '[[source]]\nkind = "camera"\ndevice = "/dev/no-camera"'
    )
    with RunningDaemon(config) as daemon:
        put_picture(tmp_path / "in", "a.png")
        (tmp_path / "in" / "torn.png").write_bytes(b"\x89PNG torn")
        until(lambda: len(daemon.answers()) == 2, "one answer and one error")
        until(lambda: "source_lost" in daemon.events(), "the camera is missed")
        shown = isthmus("edge", "status", "--config", config)
        as_json = isthmus("edge", "status", "--socket", tmp_path / CONTROL, "--json")
        second = isthmus("edge", "check", "--config", config)
    assert (shown.status, as_json.status, second.status) == (0, 0, 0)
    assert "running for" in shown.out
    assert "bundle    tiny" in shown.out
    assert "candidate local" in shown.out
    assert "directory (directory) running; 2 taken, 1 answered, 0 errors, 1 unreadable" in shown.out
    assert "camera (camera) lost: /dev/no-camera: cannot be read" in shown.out
    status = json.loads(as_json.out)
    assert status["state"] == "running"
    assert status["counts"]["accepted"] == status["counts"]["answered_device"] == 1
    assert status["rss_bytes"] > 10_000_000
    assert status["events"][0]["event"] == "starting"


def test_without_a_daemon_the_way_to_start_one_is_named(isthmus: Isthmus, tmp_path: Path) -> None:
    ended = isthmus("edge", "status", "--socket", tmp_path / "none.sock")
    assert_explained(ended, str(tmp_path / "none.sock"), "no daemon answers", "--config FILE")


def test_a_configuration_is_looked_over_and_nothing_started(
    isthmus: Isthmus, tiny_bundle: Path, tmp_path: Path
) -> None:
    page = '[dashboard]\nlisten = "127.0.0.1:8080"'
    config = write_config(tmp_path, tiny_bundle, f'[endpoint]\nunix = "oip.sock"\n{page}')
    ended = isthmus("edge", "check", "--config", config)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines()[0] == f"{config}: fine"
    assert f"unix:{tmp_path}/oip.sock" in ended.out
    assert "dashboard http://127.0.0.1:8080" in ended.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edge.toml", "in"]


def test_what_the_daemon_would_refuse_the_check_refuses(
    isthmus: Isthmus, tiny_bundle: Path, wide_bundle: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, tiny_bundle, agent="thraeds = 2")
    for verb in (("edge", "check"), ("edge",)):
        ended = isthmus(*verb, "--config", config)
        assert_explained(ended, str(config), "'thraeds'", "did you mean 'threads'?")
    write_config(tmp_path, tmp_path / "no.bundle")
    assert_explained(isthmus("edge", "check", "--config", config), "no bundle here")
    write_config(tmp_path, wide_bundle)
    assert_explained(isthmus("edge", "check", "--config", config), "takes", "no picture")
