"""What a device says and does while an operator starts, stops and fills its service."""

import logging
import signal
from pathlib import Path

import pytest
from tests.commands import Cloud, Command, until
from tests.edge.daemon.files import RunningDaemon, put_picture, write_config
from tests.edge.doctor.certificates import make_certificate
from tests.tinybundle import tiny_pictures

from isthmus_cli import main
from isthmus_edge import Agent, AgentConfig
from isthmus_edge.stream import uplink

PICTURE = tiny_pictures(1)[0]


def isthmus(*arguments: object) -> None:
    assert main([str(each) for each in arguments]) == 0


def test_a_device_comes_to_a_service_once_its_version_is_the_active_one(
    tiny_bundle: Path, other_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no bundle at first, then another one, then the right one; the device stays up."""
    monkeypatch.setattr(uplink, "REFUSED_S", 0.05)
    store = tmp_path / "store"
    store.mkdir()
    with Cloud(Path(f"--store={store}")) as cloud:
        config = AgentConfig(bundle=tiny_bundle, cloud=cloud.address, candidate="cut-16")
        with Agent.open(config) as agent:
            assert agent.stats().link_state == "refused"
            assert agent.infer(PICTURE).place == "device"
            for version, bundle in (("1", other_bundle), ("2", tiny_bundle)):
                flags = ("--name", "tiny", "--version", version, "--activate")
                isthmus("push", bundle, "--to", cloud.address, *flags)
                if version == "1":
                    until(lambda: len(agent.stats().events) > 1, "another bundle is no help")
                    assert agent.infer(PICTURE).place == "device"
            until(lambda: agent.stats().link_state == "up", "the right one is active")
            assert agent.infer(PICTURE).place == "cloud"
            nothing, *_, another = (event.text for event in agent.stats().events)
    assert "serves no model now" in nothing
    assert "weights differ" in another
    for text in (nothing, another):
        assert "answers alone and asks again" in text
        assert "`isthmus activate`" in text


def test_a_daemon_whose_bundle_the_service_does_not_have_runs_and_says_why(
    tiny_bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    with Cloud(other_bundle) as cloud:
        config = write_config(tmp_path, tiny_bundle, agent=f'cloud = "{cloud.address}"')
        with RunningDaemon(config) as daemon:
            put_picture(tmp_path / "in", "a.png")
            until(lambda: len(daemon.answers()) == 1, "the device answers")
            status = daemon.status()
            ended = daemon.told(signal.SIGTERM)
    assert ended.status == 0
    assert status.agent is not None
    assert status.agent.link.state == "refused"
    (event,) = (event for event in status.events if event["event"] == "agent")
    assert "weights differ" in event["message"]
    assert "isthmus fetch" in event["message"]


def test_a_service_that_is_stopped_has_left_and_one_that_is_killed_has_broken_off(
    tiny_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "isthmus.edge")
    told: dict[int, list[str]] = {}
    for signum in (signal.SIGTERM, signal.SIGKILL):
        caplog.clear()
        with (
            Cloud(tiny_bundle) as cloud,
            Agent.open(AgentConfig(bundle=tiny_bundle, cloud=cloud.address)) as agent,
        ):
            agent.infer(PICTURE)
            cloud.told(signum)
            until(lambda: agent.stats().link_state == "down", "it is seen")
        told[signum] = [text for text in caplog.messages if text.startswith("link down")]
    assert "has left in order" in told[signal.SIGTERM][0]
    assert not any("broke" in text for text in told[signal.SIGTERM])
    assert "broke" in told[signal.SIGKILL][0]


def test_a_device_without_the_services_certificate_is_told_what_is_missing(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    """The real service over TLS, and devices that have nothing, or another certificate."""
    own, other = make_certificate(tmp_path / "own"), make_certificate(tmp_path / "other")
    flags = ("--tls-cert", own.pem, "--tls-key", own.key)
    with Cloud(tiny_bundle, "127.0.0.1:0", *flags) as cloud:
        for tls_ca, words in ((None, "hangs up"), (other.pem, "does not vouch for")):
            config = AgentConfig(bundle=tiny_bundle, cloud=cloud.address, tls_ca=tls_ca)
            with Agent.open(config) as agent:
                assert agent.infer(PICTURE).place == "device"
                (event,) = agent.stats().events
            assert words in event.text
            assert "--tls-ca" in event.text
            assert "isthmus cloud" not in event.text
        put_picture(tmp_path, "a.png")
        trusting = ("--cloud", cloud.address, "--tls-ca", other.pem)
        with Command("edge", tiny_bundle, tmp_path / "a.png", *trusting) as command:
            ended = command.ended()
        (warning,) = ended.err.splitlines()  # and none of gRPC's own
        assert "does not vouch for" in warning
        config = AgentConfig(bundle=tiny_bundle, cloud=cloud.address, tls_ca=own.pem)
        with Agent.open(config) as agent:
            assert agent.stats().link_state == "up"
