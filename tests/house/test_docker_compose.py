"""docker/compose.yaml: its doors are closed, and what it starts works, tried without containers."""

import re
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.commands import Command
from tests.house.deployed import (
    COMPOSE,
    DOCKER,
    cloud_options,
    entrypoint,
    make_secrets,
    on_this_machine,
    read_yaml,
    ready,
    scraped,
)
from tests.tinybundle import tiny_pictures

OURS = ("cloud", "device")


def services() -> dict[str, dict[str, Any]]:
    read: dict[str, dict[str, Any]] = read_yaml(COMPOSE)["services"]
    return read


def prometheus() -> dict[str, Any]:
    (job,) = read_yaml(DOCKER / "prometheus/prometheus.yml")["scrape_configs"]
    assert isinstance(job, dict)
    return job


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from a folder that is not the checkout, into one that is named from there."""
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    made = make_secrets(folder, "cloud.example", "192.0.2.7")
    assert made.returncode == 0, made.stderr
    return folder


@dataclass(frozen=True, slots=True)
class Running:
    """The service of the compose file, as a process here."""

    command: Command
    address: str
    web_port: int
    secrets: Path

    def operator(self, *arguments: object) -> None:
        """A verb of an operator, which must succeed."""
        shown = ("--tls-ca", self.secrets / "ca.pem", "--token-file", self.token("operator"))
        with Command(*arguments, *shown) as verb:
            ended = verb.ended()
        assert ended.status == 0, ended.err

    def token(self, name: str) -> Path:
        return self.secrets / f"{name}.token"


@pytest.fixture
def running(secrets: Path, tmp_path: Path) -> Iterator[Running]:
    arguments = [*entrypoint("cloud"), *services()["cloud"]["command"]]
    places = {"/run/secrets": secrets, "/store": tmp_path / "store"}
    with Command("cloud", *on_this_machine(arguments, places), "--provider", "cpu") as command:
        web = command.line("the dashboard is on ").split()[-1]
        address = command.line("listening on ").split()[2]
        yield Running(command, address, int(web.rpartition(":")[2]), secrets)


def test_the_service_is_started_with_flags_that_it_has() -> None:
    options = cloud_options([*entrypoint("cloud"), *services()["cloud"]["command"]])
    assert options.http == "0.0.0.0:8080"  # the compose file's, not the image's loopback
    assert options.tokens
    assert options.tls_cert
    assert options.http_token_file
    opened = (options.insecure, options.http_insecure, options.tokens_in_clear)
    assert not any(opened)


def test_docker_waits_longer_than_the_drain() -> None:
    cloud = services()["cloud"]
    options = cloud_options(cloud["command"])
    assert int(cloud["stop_grace_period"].removesuffix("s")) > options.drain_grace


def test_no_container_writes_to_its_root_or_has_rights_of_root() -> None:
    assert [
        name
        for name, service in services().items()
        if not (
            service["read_only"]
            and service["cap_drop"] == ["ALL"]
            and service["security_opt"] == ["no-new-privileges:true"]
        )
    ] == []


def test_every_port_is_on_the_loopback_unless_somebody_says_otherwise() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert [
        port for port in ports if not re.match(r"(127\.0\.0\.1|\$\{LISTEN:-127\.0\.0\.1\}):", port)
    ] == []


def test_images_have_versions_and_no_registry() -> None:
    for name, service in services().items():
        repository, _, tag = service["image"].partition(":")
        assert "." not in repository.split("/")[0]
        assert bool(tag) == (name not in OURS)
        assert ("build" in service) == (name in OURS)


def test_every_file_that_is_mounted_is_in_the_checkout() -> None:
    mounted = [
        volume.partition(":")[0]
        for service in services().values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    assert len(mounted) == 5
    assert [path for path in mounted if not (DOCKER / path).exists()] == []


def test_every_secret_is_one_that_is_made_and_ignored_by_git(secrets: Path) -> None:
    declared = read_yaml(COMPOSE)["secrets"]
    used = {name for service in services().values() for name in service.get("secrets", [])}
    assert used == declared.keys()
    assert {secret["file"] for secret in declared.values()} == {
        f"./secrets/{name}" for name in used
    }
    assert [name for name in used if not (secrets / name).read_text(encoding="utf-8").strip()] == []
    assert "/secrets/" in (DOCKER / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_secrets_are_behind_a_folder_of_their_owner_and_are_not_made_twice(secrets: Path) -> None:
    assert secrets.stat().st_mode & 0o777 == 0o700
    before = (secrets / "server.key").read_bytes()
    again = make_secrets(secrets)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    assert (secrets / "server.key").read_bytes() == before


def test_the_certificate_has_the_names_that_devices_call_the_service_by(secrets: Path) -> None:
    read = subprocess.run(
        ["openssl", "x509", "-in", secrets / "server.pem", "-noout", "-ext", "subjectAltName"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in ("DNS:cloud,", "DNS:localhost,", "IP Address:127.0.0.1,", "DNS:cloud.example,"):
        assert name in read
    assert "IP Address:192.0.2.7" in read


def test_secrets_that_cannot_be_made_leave_nothing_behind(tmp_path: Path) -> None:
    failed = make_secrets(tmp_path / "secrets", "no name at all, surely")
    assert failed.returncode == 1
    assert "make-secrets: openssl made no certificate" in failed.stderr
    assert list(tmp_path.iterdir()) == []


def device_file(running: Running, bundle: Path, pictures: Path, to: Path) -> Path:
    """The device's file, with places of this machine."""
    text = (DOCKER / "device/edge.toml").read_text(encoding="utf-8")
    port = running.address.rpartition(":")[2]
    for place, here in (
        ("/bundle", bundle),
        ("/pictures", pictures),
        ("/run/secrets", running.secrets),
        ("dns:cloud:50051", f"localhost:{port}"),
    ):
        assert f'"{place}' in text
        text = text.replace(f'"{place}', f'"{here}')
    to.write_text(
        f'{text}\n[service]\ncontrol = "{to.parent / "control.sock"}"\n', encoding="utf-8"
    )
    return to


def test_a_pushed_bundle_answers_the_device_and_prometheus_hears_of_it(
    running: Running, tiny_bundle: Path, tmp_path: Path
) -> None:
    """What the README says to do, one after the other."""
    assert ready(running.web_port) == 0
    push = ("push", tiny_bundle, "--to", running.address, "--name", "tiny", "--version", "1")
    running.operator(*push, "--activate")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(tiny_pictures(1)[0][0]).save(pictures / "one.png")
    config = device_file(running, tiny_bundle, pictures, tmp_path / "edge.toml")
    with Command("edge", "--config", config) as device:
        answer = device.line("one.png")
        assert '"error"' not in answer
        job = prometheus()
        status, metrics = scraped(
            running.web_port,
            authority=running.secrets / Path(job["tls_config"]["ca_file"]).name,
            server_name=job["tls_config"]["server_name"],
            token=running.token("web").read_text(encoding="utf-8").strip(),
        )
        assert device.told(signal.SIGTERM).status == 0
    assert status == 200
    assert 'isthmus_active{model="tiny",version="1"} 1.0' in metrics
    assert 'isthmus_streams_opened_total{model="tiny",resumed="false",version="1"} 1.0' in metrics
    assert running.command.told(signal.SIGTERM).status == 0


def test_prometheus_shows_the_token_that_the_service_was_given() -> None:
    assert prometheus()["scheme"] == "https"
    shown = prometheus()["authorization"]["credentials_file"]
    options = cloud_options(services()["cloud"]["command"])
    assert shown == str(options.http_token_file)
    (found,) = prometheus()["dns_sd_configs"]
    assert (found["names"], found["port"]) == (["cloud"], int(options.http.rpartition(":")[2]))
    rules = read_yaml(DOCKER / "prometheus/prometheus.yml")["rule_files"]
    assert [name for name in rules if not (DOCKER / "prometheus" / name).is_file()] == []


def test_the_device_calls_the_service_by_its_name_with_its_own_token() -> None:
    agent = tomllib.loads((DOCKER / "device/edge.toml").read_text(encoding="utf-8"))["agent"]
    port = services()["cloud"]["command"][1].rpartition(":")[2]
    assert agent["cloud"] == f"dns:cloud:{port}"
    mounted = {f"/run/secrets/{name}" for name in services()["device"]["secrets"]}
    assert mounted == {agent["tls_ca"], agent["token_file"]}
    assert "insecure" not in agent
