"""The daemon's file: each mistake is named with its place and the way out."""

from dataclasses import fields
from pathlib import Path

import pytest

from isthmus import ConfigError
from isthmus_edge import AgentConfig
from isthmus_edge.daemon import DaemonConfig, parse_config, read_config
from isthmus_edge.oip import Limits

TEXT = """\
[agent]
bundle = "x.bundle"
threads = 2

[[source]]
kind = "directory"
path = "in"

[[source]]
kind = "camera"
device = "/dev/video0"

[endpoint]
unix = "oip.sock"

[output]
stdout = true
"""
LONG_CONTROL = f"[service]\ncontrol = '{'x' * 120}'"


def parsed(folder: Path, old: str = "", new: str = "") -> DaemonConfig:
    assert old in TEXT
    return parse_config(TEXT.replace(old, new, 1), folder / "edge.toml")


def complaint(folder: Path, old: str, new: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(folder, old, new)
    return str(caught.value)


def test_relative_paths_begin_at_the_folder_of_the_file(tmp_path: Path) -> None:
    config = parsed(tmp_path, 'path = "in"', 'path = "in"\nfailed = "/elsewhere"')
    source = config.sources["directory"]
    assert config.agent.bundle == tmp_path / "x.bundle"
    assert config.endpoint.listen == (f"unix:{tmp_path}/oip.sock",)
    assert getattr(source, "path", None) == tmp_path / "in"
    assert getattr(source, "failed", None) == Path("/elsewhere")


def test_what_is_not_said_is_as_the_agent_has_it(tmp_path: Path) -> None:
    config = parsed(tmp_path).agent
    assert config == AgentConfig(bundle=tmp_path / "x.bundle", threads=2)


@pytest.mark.parametrize("name", [field.name for field in fields(AgentConfig)])
def test_every_setting_of_an_agent_is_a_key(tmp_path: Path, name: str) -> None:
    assert f", {name}" in complaint(tmp_path, "threads", "nonsense").replace("are ", ", ")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("threads", "thraeds", ("line 3, [agent]", "'thraeds'", "'threads'")),
        ("[output]", "[outptu]", ("line 16", "[outptu]", "'output'")),
        ("path", "pth", ("line 7, [[source]]", "'pth'", "'path'")),
        ("device", "devise", ("line 11, [[source]]", "'devise'", "'device'")),
        ("threads = 2", "threads = 'two'", ("line 3", "threads", "'two'", "a whole number")),
        ("threads = 2", "threads = true", ("line 3", "threads", "a whole number")),
        ("threads = 2", "threads = 0", ("line 3", "threads", "at least 1")),
        ("threads = 2", "rate_control = 1", ("rate_control", "true or false")),
        ("threads = 2", "objective = 'glory'", ("'glory'", "'latency' or 'throughput'")),
        ("threads = 2", "cloud = 'nowhere'", ("line 3", "'nowhere'", "HOST:PORT")),
        ('bundle = "x.bundle"', "", ("line 1, [agent]", "bundle", "missing")),
        ('bundle = "x.bundle"', "bundle = 3", ("line 2", "bundle", "a path in quotes")),
        ('kind = "camera"', "", ("line 9, [[source]]", "kind is missing", "'stdin'")),
        ('kind = "camera"', "kind = 'cam'", ("line 10", "'cam'", "'camera'")),
        ('path = "in"', "", ("line 5, [[source]]", "path is missing")),
        ('device = "/dev/video0"', "", ("line 9, [[source]]", "device is missing")),
        ('path = "in"', 'path = "in"\nwhen_done = "move"', ("line 8", "when_done", "done")),
        ('path = "in"', 'path = "in"\nfailed = "in"', ("failed", "is watched")),
        ('path = "in"', 'path = "in"\nsettle_s = 0', ("line 8", "settle_s", "above 0")),
        ('path = "in"', 'path = "in"\ndeadline_ms = inf', ("line 8", "deadline_ms", "at most")),
        ("[output]", f"{LONG_CONTROL}\n[output]", ("line 17", "control:", "107 bytes")),
        ('unix = "oip.sock"', 'loopback = "0.0.0.0:1"', ("line 14", "0.0.0.0:1", "other machines")),
        ('unix = "oip.sock"', "socket_mode = 0o660", ("line 14", "432", "'0600' or '0660'")),
        ("[output]", "max_bytes = 9\n[output]", ("line 16", "max_bytes", "max_message_bytes")),
        ("[output]", "max_items = 0\n[output]", ("line 16", "max_items", "at least 1")),
        ("stdout = true", "", ("[output]", "go nowhere", "stdout = true")),
        ("threads = 2", "when_full = 'reject'", ("when_full", "'directory'", "leave it out")),
        ("[agent]", "[[agent]]", ("[agent]", "table")),
        ('bundle = "x.bundle"', 'bundle = "~nobody9/b"', ("line 2", "nobody9", "no such home")),
        ('bundle = "x.bundle"', 'bundle = "a\\u0000b"', ("line 2", "a path in quotes")),
        ("threads = 2", "threads = ", ("TOML", "line 3")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, words: tuple[str, ...]
) -> None:
    message = complaint(tmp_path, old, new)
    assert message.startswith(str(tmp_path / "edge.toml"))
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(("said", "mode"), [("", 0o600), ("0600", 0o600), ("0660", 0o660)])
def test_the_endpoints_socket_has_the_mode_that_is_said(
    tmp_path: Path, said: str, mode: int
) -> None:
    line = f"\nsocket_mode = {said!r}" if said else ""
    section = parsed(tmp_path, 'unix = "oip.sock"', f'unix = "oip.sock"{line}').endpoint
    config = section.config()
    assert config is not None
    assert config.socket_mode == mode


def test_the_endpoints_limits_are_those_that_are_said(tmp_path: Path) -> None:
    lines = "\nmax_message_bytes = 100_000_000\nmax_items = 3"
    config = parsed(tmp_path, 'unix = "oip.sock"', f'unix = "oip.sock"{lines}').endpoint.config()
    assert config is not None
    assert config.limits == Limits(max_message_bytes=100_000_000, max_items=3)


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_every_limit_of_the_endpoint_is_a_key(tmp_path: Path, name: str) -> None:
    said = getattr(Limits(), name) + 1
    section = parsed(tmp_path, 'unix = "oip.sock"', f'unix = "oip.sock"\n{name} = {said}').endpoint
    assert getattr(section.limits(), name) == said


def test_sources_of_one_kind_get_names_of_their_own(tmp_path: Path) -> None:
    config = parsed(tmp_path, 'kind = "directory"', 'kind = "camera"\ndevice = "a"\n[[source]]\n'
                    'kind = "directory"\nname = "tray"')  # fmt: skip
    assert list(config.sources) == ["camera", "tray", "camera-2"]


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    message = complaint(tmp_path, 'device = "/dev/video0"', 'device = "a"\nname = "directory"')
    assert "line 12" in message
    assert "'directory'" in message


def test_a_daemon_that_nobody_could_ask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[endpoint\].*\[\[source\]\]"):
        parse_config('[agent]\nbundle = "x"\n', tmp_path / "edge.toml")


def test_a_bundle_that_is_not_there_is_named_with_its_line(tmp_path: Path) -> None:
    path, bundle = tmp_path / "edge.toml", tmp_path / "x.bundle"
    path.write_text(TEXT, encoding="utf-8")
    words = r"edge\.toml, line 2, \[agent\]: bundle = '/.*x\.bundle': no bundle here"
    with pytest.raises(ConfigError, match=words):
        read_config(path)
    bundle.mkdir()
    with pytest.raises(ConfigError, match=words):
        read_config(path)
    (bundle / "bundle.json").touch()
    assert read_config(path).agent.bundle == bundle


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    with pytest.raises(ConfigError, match=r"edge\.toml: cannot be read"):
        read_config(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_config(path)


@pytest.mark.parametrize("sources", ['["directory"]', "[1]", '[["directory"]]', '"directory"'])
def test_sources_that_are_no_tables_are_refused(tmp_path: Path, sources: str) -> None:
    text = f'source = {sources}\n[agent]\nbundle = "x"\n'
    with pytest.raises(ConfigError, match=r"edge\.toml.*\[\[source\]\]"):
        parse_config(text, tmp_path / "edge.toml")


@pytest.mark.parametrize(
    ("value", "targets"),
    [
        ('"127.0.0.1:1"', ["127.0.0.1:1"]),
        ('["127.0.0.1:1", "localhost:2"]', ["127.0.0.1:1", "localhost:2"]),
        ('"dns:localhost:2"', ["localhost:2"]),
    ],
)
def test_the_cloud_is_one_address_or_a_list(tmp_path: Path, value: str, targets: list[str]) -> None:
    config = parsed(tmp_path, "threads = 2", f"cloud = {value}").agent
    assert [str(target) for target in config.targets] == targets


def test_a_token_is_named_and_never_repeated(tmp_path: Path) -> None:
    text = complaint(tmp_path, "threads = 2", "token = 123456789")
    assert "[agent]: token: use text in quotes" in text
    assert "123456789" not in text
    text = complaint(tmp_path, "threads = 2", 'token = "open sesame"')
    assert "line 3" in text
    assert "sesame" not in text
    config = parsed(tmp_path, "threads = 2", 'token = "opensesame"')
    assert "sesame" not in repr(config)
