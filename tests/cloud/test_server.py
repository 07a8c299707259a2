"""The service's life: it starts or says why not, it drains, it can be forced."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from tests.cloud.announcements import Announcements
from tests.cloud.device import GUARD_S, Head, connected
from tests.cloud.gated import GatedTail
from tests.cloud.serving import answering, deployment_of, listening

from isthmus import Bundle, BundleError, ConfigError
from isthmus.repeated_signals import Breaths
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud import Core, RunningService, ServiceConfig, serve, server
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.server import main_loop

PROGRAM = """
import sys
from pathlib import Path
from isthmus_cloud import ServiceConfig, run_service
config = ServiceConfig(bundle=Path(sys.argv[1]), threads=1, provider="cpu")
run_service(config, lambda line: print(line, flush=True))
"""


async def test_drain_ends_idle_streams_of_all_devices(
    service: RunningService, bundle: Bundle
) -> None:
    async with connected(service.address) as one, connected(service.address) as two:
        await one.hello(bundle.fingerprint)
        await two.hello(bundle.fingerprint)
        async with asyncio.timeout(GUARD_S):
            await service.drain(GUARD_S)
        for device in (one, two):
            assert (await device.receive()).WhichOneof("kind") == "drain"
            assert await device.ended() is grpc.StatusCode.OK


async def test_drain_does_not_outlast_its_grace(
    gated_service: RunningService, gate: GatedTail, head: Head, bundle: Bundle
) -> None:
    async with connected(gated_service.address) as device:
        await device.hello(bundle.fingerprint)
        await device.send(frame=head.frame("cut-16"))
        await gate.begun()
        async with asyncio.timeout(GUARD_S):
            await gated_service.drain(0)
        assert (await device.receive()).WhichOneof("kind") == "drain"
        assert (await device.error()).code == pb.ERROR_CODE_OVERLOADED
        assert await device.ended() is grpc.StatusCode.OK


async def test_the_first_signal_drains(config: ServiceConfig, bundle: Bundle, head: Head) -> None:
    announced = Announcements()
    serving = asyncio.create_task(serve(config, announced))
    ready = await announced.line("listening on 127.0.0.1:")
    assert ready.endswith(f"(CPUExecutionProvider, 4 candidates, bundle {bundle.fingerprint[:12]})")
    async with connected(ready.split()[2]) as device:
        await device.hello(bundle.fingerprint)
        await device.send(frame=head.frame("cut-256"))
        await device.result()
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await device.receive()).WhichOneof("kind") == "drain"
        await device.ended()
    await announced.line("stopped")
    async with asyncio.timeout(GUARD_S):
        await serving


@pytest.mark.parametrize("is_repeated", [True, False])
async def test_a_second_signal_forces_unless_it_repeats_the_first(
    config: ServiceConfig,
    bundle: Bundle,
    head: Head,
    gate: GatedTail,
    monkeypatch: pytest.MonkeyPatch,
    is_repeated: bool,
) -> None:
    """As `timeout` does, which signals the group, too."""
    now_s = [100.0]
    monkeypatch.setattr(server, "Breaths", lambda: Breaths(lambda: now_s[0]))
    announced = Announcements()
    patient = replace(config, drain_grace_s=3600)
    with answering(bundle.manifest, {"input": gate, "cut": gate}) as answerer:
        core = Core(patient, desk=answerer.desk)
        core.deployments.activate(deployment_of(bundle, answerer))
        serving = asyncio.create_task(main_loop(patient, core, announced))
        ready = await announced.line("listening on ")
        async with connected(ready.split()[2]) as device:
            await device.hello(bundle.fingerprint)
            await device.send(frame=head.frame("cut-256"))
            await gate.begun()
            os.kill(os.getpid(), signal.SIGINT)
            assert (await device.receive()).WhichOneof("kind") == "drain"
            assert not serving.done()
            now_s[0] += 0.01 if is_repeated else 1.0
            os.kill(os.getpid(), signal.SIGINT)
            if is_repeated:
                gate.let_pass()
                assert (await device.receive()).WhichOneof("kind") == "result"
            else:
                assert await device.broken_off() is grpc.StatusCode.UNAVAILABLE
            async with asyncio.timeout(GUARD_S):
                await serving
        gate.open_for_good()


def test_as_a_process_it_answers_and_ends_cleanly(
    tiny_bundle: Path, bundle: Bundle, head: Head
) -> None:
    async def use(address: str) -> None:
        async with connected(address) as device:
            await device.hello(bundle.fingerprint)
            await device.send(frame=head.frame("cut-16"))
            await device.result()

    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(tiny_bundle)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        ready = next(line for line in process.stdout if line.startswith("listening on"))
        asyncio.run(use(ready.split()[2]))
        process.send_signal(signal.SIGTERM)
        rest, complaints = process.communicate(timeout=GUARD_S)
    assert process.returncode == 0
    assert complaints == ""
    assert rest.splitlines()[-1] == "stopped"


async def test_a_damaged_bundle_is_refused_at_start(tiny_bundle: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(tiny_bundle, tmp_path / "damaged")
    tail = damaged / "cloud/tail-1.onnx"
    content = bytearray(tail.read_bytes())
    content[len(content) // 2] ^= 1
    tail.write_bytes(content)
    with pytest.raises(BundleError, match=r"tail-1\.onnx: damaged"):
        await serve(ServiceConfig(bundle=damaged), print)


async def test_a_folder_without_a_bundle_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle here"):
        await serve(ServiceConfig(bundle=tmp_path), print)


async def test_an_address_in_use_is_named(
    service: RunningService, config: ServiceConfig, bundle: Bundle, tails: Mapping[str, Tail]
) -> None:
    taken = replace(config, listen=service.address)
    port = service.address.rpartition(":")[2]
    with (
        answering(bundle.manifest, tails) as answerer,
        pytest.raises(ConfigError, match=f"port {port}: Address already in use; choose another"),
    ):
        async with listening(taken, bundle, answerer):
            pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for the loopback, signed by itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += " -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    command += " -keyout key.pem -out certificate.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


async def test_frames_are_answered_over_tls(
    config: ServiceConfig,
    bundle: Bundle,
    tails: Mapping[str, Tail],
    head: Head,
    certificate: tuple[Path, Path],
) -> None:
    secure = replace(config, tls_certificate=certificate[0], tls_key=certificate[1])
    trust = grpc.ssl_channel_credentials(certificate[0].read_bytes())
    with answering(bundle.manifest, tails) as answerer:
        async with (
            listening(secure, bundle, answerer) as service,
            connected(service.address, trust) as device,
        ):
            await device.hello(bundle.fingerprint)
            await device.send(frame=head.frame("cut-16"))
            await device.result()


async def test_a_key_that_cannot_be_used_is_named(
    config: ServiceConfig,
    bundle: Bundle,
    tails: Mapping[str, Tail],
    tmp_path: Path,
) -> None:
    pem = tmp_path / "no.pem"
    for content in (None, b"not a key"):
        if content is not None:
            pem.write_bytes(content)
        broken = replace(config, tls_certificate=pem, tls_key=pem)
        with (
            answering(bundle.manifest, tails) as answerer,
            pytest.raises(ConfigError, match=r"no\.pem cannot be used"),
        ):
            async with listening(broken, bundle, answerer):
                pass
