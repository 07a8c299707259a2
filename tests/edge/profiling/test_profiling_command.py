"""`isthmus edge profile`: what a user of a small device meets."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.commands import Command, Ended, assert_explained, until
from tests.edge.kits import build_kit

from isthmus import ConfigError, open_profile
from isthmus.profiles import INPUTS_NAME
from isthmus_cli import main
from isthmus_cli.edge_profile import profile_table
from isthmus_cli.progress import ProgressLine
from isthmus_edge.profiling import partial_of, write_whole

# What `import` meets on a device, and what was loaded there in the end.
_ON_A_DEVICE = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("onnx", "isthmus_partitioner", "isthmus_models", "tabulate"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from isthmus_cli import main
sys.exit(main(sys.argv[1:]))
"""
_LOADED_BY = """
import sys
import {module}
print(*{{name.partition(".")[0] for name in sys.modules}})
"""


@pytest.fixture(scope="module")
def whole_kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_kit(tmp_path_factory.mktemp("command") / "kit")


@pytest.fixture
def kit(whole_kit: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_kit, tmp_path / "kit"))


def in_fresh_python(script: str, *arguments: object) -> Ended:
    ran = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(ran.returncode, ran.stdout, ran.stderr)


def command(capfd: pytest.CaptureFixture[str], *arguments: object) -> Ended:
    before = signal.getsignal(signal.SIGTERM)
    try:
        status = main(["edge", "profile", *map(str, arguments)])
    finally:
        signal.signal(signal.SIGTERM, before)
    captured = capfd.readouterr()
    return Ended(status, captured.out, captured.err)


def test_a_device_without_onnx_writes_a_profile(kit: Path, tmp_path: Path) -> None:
    out = tmp_path / "edge.json"
    ended = in_fresh_python(_ON_A_DEVICE, "edge", "profile", kit, "-o", out, "--rounds", 3)
    assert (ended.status, "Traceback" in ended.err) == (0, False)
    profile = open_profile(out)
    assert [network.name for network in profile.networks] == ["fp32"]
    assert ended.out.splitlines()[:-2] == list(profile_table(profile))
    assert ended.out.splitlines()[-1].startswith(f"wrote {out}")
    assert "100%  done" in ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edge.json", "kit"]


@pytest.mark.parametrize("module", ["isthmus_cli.edge_profile", "isthmus_edge.profiling.alone"])
def test_measuring_loads_neither_onnx_nor_the_partitioner(module: str) -> None:
    loaded = set(in_fresh_python(_LOADED_BY.format(module=module)).out.split())
    assert "isthmus_edge" in loaded
    assert not loaded & {"onnx", "isthmus_partitioner", "isthmus_cloud", "isthmus_models"}


def test_ctrl_c_keeps_what_was_measured_and_the_same_command_goes_on(
    kit: Path, tmp_path: Path
) -> None:
    out = tmp_path / "edge.json"
    partial = partial_of(out)
    with Command("edge", "profile", kit, "-o", out, "--rounds", 10**9) as running:
        until(lambda: partial.exists() and b'"index"' in partial.read_bytes(), "kernels are kept")
        ended = running.told(signal.SIGINT)
    assert ended.status == 130
    last = ended.err.splitlines()[-1]
    assert str(partial) in last
    assert "same command" in last
    assert not out.exists()
    with Command("edge", "profile", kit, "-o", out, "--rounds", 3, "--json", "--quiet") as again:
        ended = again.ended()
    assert (ended.status, ended.err) == (0, "")
    assert json.loads(ended.out) == json.loads(out.read_bytes())
    assert any("2 runs" in note for note in open_profile(out).notes)
    assert not partial.exists()


def test_a_folder_without_a_kit_is_named(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ended = command(capfd, tmp_path, "-o", tmp_path / "edge.json")
    assert_explained(ended, str(tmp_path), "isthmus profile --kit")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_kit_is_named(
    capfd: pytest.CaptureFixture[str], kit: Path, tmp_path: Path
) -> None:
    (kit / INPUTS_NAME).write_bytes(b"PK")
    ended = command(capfd, kit, "-o", tmp_path / "edge.json")
    assert_explained(ended, "isthmus edge profile", INPUTS_NAME, "copy the kit again")


def test_a_place_that_cannot_be_written_is_named_before_the_work(
    capfd: pytest.CaptureFixture[str], kit: Path, tmp_path: Path
) -> None:
    assert_explained(command(capfd, kit, "-o", tmp_path), str(tmp_path), "directory")
    for missing in (tmp_path / "none" / "edge.json", kit / "kit.json" / "edge.json"):
        assert_explained(command(capfd, kit, "-o", missing, "--quiet"), str(missing), "cannot be")


def test_a_temporary_folder_that_cannot_be_used_is_named(
    capfd: pytest.CaptureFixture[str], kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime's profiler writes there."""
    gone = tmp_path / "gone"
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", str(gone))
        ended = command(capfd, kit, "-o", tmp_path / "edge.json", "--rounds", 3, "--quiet")
    assert_explained(ended, str(gone), "temporary folder", "TMPDIR")


def test_rounds_too_few_to_compare_are_named(
    capfd: pytest.CaptureFixture[str], kit: Path, tmp_path: Path
) -> None:
    ended = command(capfd, kit, "-o", tmp_path / "edge.json", "--rounds", 1)
    assert_explained(ended, "rounds", "at least 3")


def test_a_bundle_is_still_answered_by_the_verb_of_one_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["edge", "./profile", "cat.png"]) == 1
    assert capfd.readouterr().err.startswith("isthmus edge: profile: no bundle here")


def test_a_full_disk_is_named_and_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "edge.json"
    out.write_bytes(b"older")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"edge\.json: cannot be written \(No space left"):
        write_whole(out, b"newer")
    assert (out.read_bytes(), list(tmp_path.iterdir())) == (b"older", [out])


def test_a_file_below_another_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/edge\.json: cannot be written \(Not a directory"):
        write_whole(tmp_path / "file" / "edge.json", b"{}")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_one_line_that_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    with ProgressLine() as progress:
        progress(0.0, "trying fp32, a long name")
        progress(1.0, "done")
    first, last = shown.getvalue().removesuffix("\n").removeprefix("\r").split("\r")
    assert "[........................]   0%" in first
    assert "[########################] 100%" in last
    assert last.rstrip().endswith("done")
    assert len(last) >= len(first)


def test_a_file_gets_a_line_for_each_tenth_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    with ProgressLine() as progress:
        for hundredth in range(101):
            progress(hundredth / 100, "work")
    shares = [line.split()[2] for line in shown.getvalue().splitlines()]
    assert shares[0] == "0%"
    assert shares[-1] == "100%"
    assert len(shares) == 11


def test_quiet_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with ProgressLine(quiet=True) as progress:
        progress(0.5, "work")
    assert capfd.readouterr().err == ""
