"""What keeps a daemon from starting is found without starting one."""

import shutil
from argparse import Namespace
from pathlib import Path

import msgspec
import pytest
from tests.edge.daemon.files import write_config
from tests.edge.daemon.supplied import copied, supplied_config

from isthmus import ConfigError, IsthmusError, encode_manifest, open_bundle
from isthmus_cli import edge_check
from isthmus_edge.daemon import checks, read_config
from isthmus_edge.daemon.checks import Checked, checked

ENDPOINT = '[endpoint]\nunix = "oip.sock"\n'


def check(folder: Path, bundle: Path, agent: str = "", more: str = "") -> Checked:
    return checked(read_config(write_config(folder, bundle, more, agent=agent)))


def test_what_can_be_used_is_told(tiny_bundle: Path, tmp_path: Path) -> None:
    agent = 'candidate = "local@0"\naudit_share = 0.5\ncloud = "127.0.0.1:1"'
    found = check(tmp_path, tiny_bundle, agent, ENDPOINT)
    assert found.bundle is not None
    assert found.bundle.path == tiny_bundle
    assert list(found.sources) == ["directory"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edge.toml", "in"]


@pytest.mark.parametrize(
    ("agent", "more", "words"),
    [
        ('candidate = "no-such-thing"', "", "no-such-thing"),
        ('candidate = "local@7"', "", "has no rung '7'"),
        ('cloud = "10.0.0.1:1"\ntls_ca = "none.pem"', "", r"none\.pem.*PEM"),
        ("", f"{ENDPOINT}max_message_bytes = 1000", "max_message_bytes is 1000"),
        ("", '[dashboard]\nlisten = "0.0.0.0:8080"', "TLS certificate"),
        ("", '[dashboard]\nlisten = "127.0.0.1:1"\ntoken_file = "none"', "holds the token"),
        (
            "",
            '[dashboard]\nlisten = "127.0.0.1:1"\ntls_certificate = "c.pem"\ntls_key = "k.pem"',
            r"c\.pem.*unencrypted key",
        ),
    ],
)
def test_what_the_agent_or_the_endpoint_would_refuse_is_refused(
    tiny_bundle: Path, tmp_path: Path, agent: str, more: str, words: str
) -> None:
    with pytest.raises(IsthmusError, match=words):
        check(tmp_path, tiny_bundle, agent, more)


@pytest.mark.parametrize(
    ("asked", "agent"),
    [("raw_input_way", "audit_share = 0.5"), ("require_formats", ""), ("refusals", "")],
)
def test_audits_formats_and_runtimes_are_looked_at_as_the_agent_does(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, agent: str
) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("not here")

    monkeypatch.setattr(checks, asked, refuse)
    with pytest.raises(ConfigError, match="not here"):
        check(tmp_path, tiny_bundle, agent)


def test_a_bundle_from_the_cloud_is_looked_at_where_one_is_kept(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    config = supplied_config(tmp_path, "127.0.0.1:1")
    found = checked(read_config(config))
    assert (found.bundle, list(found.sources)) == (None, ["directory"])
    shelf = tmp_path / "shelf" / "tiny"
    kept = copied(tiny_bundle, shelf / open_bundle(tiny_bundle, "device").fingerprint)
    found = checked(read_config(config))
    assert found.bundle is not None
    assert found.bundle.path == kept
    config.write_text(config.read_text().replace("keep_in", 'keys = ["none.pem"]\nkeep_in'))
    with pytest.raises(ConfigError, match=r"none\.pem"):
        checked(read_config(config))


def test_the_control_socket_that_nobody_named_is_looked_at_too(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, tiny_bundle)
    config.write_text(config.read_text().replace('control = "control.sock"', ""))
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"/{'x' * 120}")
    with pytest.raises(ConfigError, match="107 bytes"):
        checked(read_config(config))


def test_what_will_run_otherwise_than_planned_is_told_and_no_reason_to_refuse(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = tmp_path / "planned.bundle"
    shutil.copytree(tiny_bundle, planned)
    manifest = open_bundle(planned, "device").manifest
    chains = tuple(msgspec.structs.replace(c, runtime="tflite-runtime") for c in manifest.chains)
    elsewhere = encode_manifest(msgspec.structs.replace(manifest, chains=chains))
    (planned / "bundle.json").write_bytes(elsewhere)
    warnings = []
    for bundle in (tiny_bundle, planned):
        assert edge_check.run(Namespace(config=write_config(tmp_path, bundle))) == 0
        lines = capsys.readouterr().out.splitlines()
        warnings.append([line for line in lines if line.startswith("warning")])
    assert warnings[0] == []
    (warning,) = warnings[1]
    assert "chain 'whole': the plan's tflite-runtime is not here, onnxruntime runs it" in warning
