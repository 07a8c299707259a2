"""The systemd unit and the example file that ship with it."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus_edge.daemon import parse_config
from isthmus_edge.daemon.sections import DirectorySection
from isthmus_edge.daemon.settings import KINDS, TABLES

FOLDER = Path(__file__).parents[3] / "docker" / "systemd"
UNIT = FOLDER / "isthmus-edge.service"
EXAMPLE = FOLDER / "edge.toml"
SYSUSERS = FOLDER / "isthmus.sysusers"
DOCKER = FOLDER.parent / "README.md"


@pytest.fixture(scope="module")
def unit() -> dict[str, list[str]]:
    """Keys of all sections with their values; a key may come more than once."""
    keys: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            keys.setdefault(key, []).append(value)
    return keys


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    config = parse_config(EXAMPLE.read_text(encoding="utf-8"), tmp_path / "edge.toml")
    assert config.endpoint.listen == ("unix:/run/isthmus/oip.sock",)
    assert list(config.sources) == ["directory"]


def test_the_configuration_for_a_container_needs_no_library_of_sources(tmp_path: Path) -> None:
    text = DOCKER.read_text(encoding="utf-8")
    (toml,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    config = parse_config(toml, tmp_path / "edge.toml")
    assert config.sources == {}
    assert config.agent.bundle == Path("/bundle")
    assert "EXTRA=edge,sources" in text


def uncommented(text: str) -> Iterator[str]:
    """The examples that are commented out, as lines of their own."""
    for line in text.splitlines():
        body = line.removeprefix("# ")
        is_setting = " = " in body and body.split(" = ")[0].isidentifier()
        yield body if is_setting or body.startswith("[[") else line


def test_what_is_commented_out_in_the_example_can_be_used_too(tmp_path: Path) -> None:
    text = "\n".join(uncommented(EXAMPLE.read_text(encoding="utf-8")))
    assert {table["kind"] for table in tomllib.loads(text)["source"]} < set(KINDS)
    config = parse_config(text, tmp_path / "edge.toml")
    assert list(config.sources) == ["directory", "camera", "video"]
    assert config.agent.audit_share == 0.01
    assert config.endpoint.limits().max_message_bytes == 100_000_000
    assert set(tomllib.loads(text)) == set(TABLES) - {"bundle"}


def test_the_example_of_a_bundle_from_the_cloud_can_be_used(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    (table,) = re.findall(r"^#   \[bundle\]\n(?:#   .*\n)+", text, re.MULTILINE)
    text = re.sub("^bundle = .*$", 'cloud = "127.0.0.1:50051"', text, flags=re.MULTILINE)
    config = parse_config(text + table.replace("#   ", ""), tmp_path / "edge.toml")
    assert config.bundle is not None
    assert config.bundle.folder == Path("/var/lib/isthmus/bundles/lite0")
    assert config.bundle.keys == (Path("/etc/isthmus/signing-key.pub.pem"),)


def test_the_unit_speaks_the_daemons_language(unit: dict[str, list[str]]) -> None:
    assert unit["Type"] == ["notify"]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["ExecStart"][0].split()[1:4] == ["edge", "--config", "/etc/isthmus/edge.toml"]
    assert int(unit["WatchdogSec"][0]) >= 10
    drain_s = parse_config(EXAMPLE.read_text(encoding="utf-8"), EXAMPLE).service.drain_s
    assert int(unit["TimeoutStopSec"][0]) > 2 * drain_s
    assert unit["RuntimeDirectory"] == ["isthmus"]


def test_its_user_can_be_joined_and_its_folders_be_reached(unit: dict[str, list[str]]) -> None:
    kind, user, *_ = SYSUSERS.read_text(encoding="utf-8").splitlines()[-1].split()
    assert (kind, [user], [user]) == ("u", unit["User"], unit["Group"])
    assert "DynamicUser" not in unit, "its folders are below /var/lib/private, closed to all"
    assert unit["StateDirectoryMode"] == ["2770"]
    config = parse_config(EXAMPLE.read_text(encoding="utf-8"), EXAMPLE)
    (source,) = config.sources.values()
    assert isinstance(source, DirectorySection)
    made = {Path("/var/lib", name) for name in unit["StateDirectory"][0].split()}
    assert {source.path, source.done, source.failed} < made
    assert config.output.file is not None
    assert config.output.file.parent in made
    assert config.endpoint.socket_mode == "0660"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Restart", "on-failure"),
        ("User", "isthmus"),
        ("RestrictSUIDSGID", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("MemoryDenyWriteExecute", "yes"),
        ("SystemCallFilter", "@system-service"),
    ],
)
def test_the_unit_is_hardened(unit: dict[str, list[str]], key: str, value: str) -> None:
    assert unit[key][0] == value


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8").replace("/opt/isthmus/bin/isthmus", "/bin/true")
    copy.write_text(text, encoding="utf-8")
    ran = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )
    complaints = [line for line in ran.stderr.splitlines() if UNIT.name in line]
    assert complaints == []


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="needs systemd-sysusers")
def test_systemd_can_make_the_user() -> None:
    ran = subprocess.run(
        ["systemd-sysusers", "--dry-run", SYSUSERS], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "invalid" in ran.stderr) == (0, False), ran.stderr
