"""A device before the doors of a real service: tokens, their exchange, and another version."""

from pathlib import Path

import pytest
from tests.commands import Cloud, until
from tests.edge.doctor.machine import assert_bad
from tests.tinybundle import tiny_pictures

from isthmus_cli import main
from isthmus_edge import Agent, AgentConfig, Credentials
from isthmus_edge.doctor import DoctorConfig, diagnose
from isthmus_edge.stream import uplink

PICTURE = tiny_pictures(1)[0]


def tokens(*arguments: object) -> None:
    assert main(["tokens", *map(str, arguments)]) == 0


@pytest.fixture
def store(tmp_path: Path, tiny_bundle: Path, other_bundle: Path) -> Path:
    """Two versions of one model, of which the first is the active one."""
    folder = tmp_path / "store"
    for version, bundle in (("1", tiny_bundle), ("2", other_bundle)):
        flags = ("--store", folder, "--name", "tiny", "--version", version)
        active = ("--activate",) if version == "1" else ()
        assert main([str(each) for each in ("push", bundle, *flags, *active)]) == 0
    return folder


def test_a_device_is_let_in_with_its_token_and_not_without(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "REFUSED_S", 0.05)
    file, own = tmp_path / "tokens.jsonl", tmp_path / "own.token"
    tokens("add", "camera-7", "--file", file, "--out", own)
    own.rename(tmp_path / "late.token")
    own.write_text("a-stranger")
    with Cloud(tiny_bundle, "127.0.0.1:0", "--tokens", file) as cloud:
        config = AgentConfig(
            bundle=tiny_bundle, cloud=cloud.address, candidate="cut-16", token_file=own
        )
        with Agent.open(config) as agent:
            assert agent.stats().link_state == "refused"
            assert agent.infer(PICTURE).place == "device"
            (tmp_path / "late.token").rename(own)
            until(lambda: agent.stats().link_state == "up", "its own token opens the door")
            assert agent.infer(PICTURE).place == "cloud"
            (event,) = agent.stats().events
        assert "UNAUTHENTICATED" in event.text
        for shown, text in ((None, "without a token"), ("a-stranger", "refuses this device's")):
            look = DoctorConfig(
                cloud=cloud.address, credentials=Credentials(token=shown), only=("link",)
            )
            assert_bad(diagnose(look)[-1], "fail", text)


def test_a_device_hears_of_another_version_and_says_so(tiny_bundle: Path, store: Path) -> None:
    with Cloud(Path(f"--store={store}")) as cloud:
        config = AgentConfig(bundle=tiny_bundle, cloud=cloud.address, candidate="cut-16")
        with Agent.open(config) as agent:
            service = agent.stats().service
            assert service is not None
            assert (service.model, service.version) == ("tiny", "1")
            assert main(["activate", "tiny", "2", "--at", cloud.address]) == 0
            until(lambda: agent.stats().update is not None, "the other version is offered")
            update = agent.stats().update
            assert update is not None
            assert (update.model, update.version) == ("tiny", "2")
            assert agent.infer(PICTURE).place == "cloud"
