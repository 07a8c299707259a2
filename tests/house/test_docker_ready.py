"""What the health check of the cloud's images says of a service."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cloud.security.authority import Authority
from tests.commands import PATIENCE_S

from isthmus.web import Route, WebConfig, WebServer, probe

ROOT = Path(__file__).parents[2]
CHECK = ROOT / "docker/ready.py"


@asynccontextmanager
async def served(config: WebConfig, *, is_ready: bool) -> AsyncIterator[int]:
    """The port of a page whose `/readyz` says so."""
    server = WebServer(config, {"/readyz": Route(probe(lambda: is_ready), is_open=True)})
    await server.start()
    try:
        yield int(server.addresses[0].rpartition(":")[2])
    finally:
        await server.stop()


async def checked(port: int) -> tuple[int | None, str]:
    """How the check ends, and what it says."""
    check = await asyncio.create_subprocess_exec(
        sys.executable, str(CHECK), str(port), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_S):
        said, _ = await check.communicate()
    return check.returncode, said.decode()


@pytest.mark.parametrize(("is_ready", "verdict"), [(True, 0), (False, 1)])
async def test_a_service_is_healthy_if_devices_may_come(is_ready: bool, verdict: int) -> None:
    async with served(WebConfig(listen="127.0.0.1:0"), is_ready=is_ready) as port:
        assert (await checked(port))[0] == verdict


@pytest.mark.parametrize(("is_ready", "verdict"), [(True, 0), (False, 1)])
async def test_a_page_with_tls_and_a_token_is_asked_as_well(
    tmp_path: Path, is_ready: bool, verdict: int
) -> None:
    certificate, key = Authority().server().write(tmp_path)
    config = WebConfig(
        listen="127.0.0.1:0", tls_certificate=certificate, tls_key=key, token="t" * 32
    )
    async with served(config, is_ready=is_ready) as port:
        assert (await checked(port))[0] == verdict


async def test_a_service_that_is_not_there_is_not_healthy_and_no_traceback() -> None:
    async with served(WebConfig(listen="127.0.0.1:0"), is_ready=True) as port:
        pass
    status, said = await checked(port)
    assert status == 1
    assert said.startswith(f"nothing answers on 127.0.0.1:{port}")


@pytest.mark.parametrize("name", ["cloud", "cloud-gpu"])
def test_the_images_have_the_check_and_a_page_that_it_can_ask(name: str) -> None:
    text = (ROOT / f"docker/{name}.Dockerfile").read_text(encoding="utf-8")
    assert "COPY docker/ready.py /opt/isthmus/bin/isthmus-ready" in text
    assert 'CMD ["python", "/opt/isthmus/bin/isthmus-ready"]' in text
    assert 'ENTRYPOINT ["isthmus", "cloud", "--http", "127.0.0.1:8080"]' in text
    assert "!docker/ready.py" in (ROOT / ".dockerignore").read_text(encoding="utf-8")
