"""What the image's health check says of a daemon."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from msgspec import structs
from tests.commands import PATIENCE_S
from tests.edge.daemon.files import stats_of
from tests.edge.daemon.test_control import STATUS

from isthmus_edge.daemon import Status
from isthmus_edge.daemon.control import Control
from isthmus_edge.daemon.status import State
from isthmus_edge.daemon.statusing import agent_status

DOCKERFILE = Path(__file__).parents[3] / "docker" / "edge.Dockerfile"


def program() -> str:
    """That of `python3 -S -c`."""
    _, _, text = DOCKERFILE.read_text(encoding="utf-8").partition("\nHEALTHCHECK ")
    command = json.loads(text[text.index("[") : text.index("\n", text.index("["))])
    assert command[:3] == ["python3", "-S", "-c"]
    return str(command[3])


@pytest.mark.parametrize(
    ("state", "answers", "verdict"),
    [
        ("running", True, 0),
        ("reloading", True, 0),
        ("running", False, 1),
        ("stopping", True, 1),
        ("starting", None, 1),
    ],
)
async def test_a_daemon_is_healthy_while_it_runs_and_its_agent_answers(
    tmp_path: Path, state: State, answers: bool | None, verdict: int
) -> None:
    agent = None if answers is None else agent_status(stats_of(), answers)

    async def status() -> Status:
        return structs.replace(STATUS, state=state, agent=agent)

    control = Control(tmp_path / "control.sock", status)
    await control.start()
    text = program().replace("/run/isthmus/control.sock", str(tmp_path / "control.sock"))
    check = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", text)
    async with asyncio.timeout(PATIENCE_S):
        assert await check.wait() == verdict
    await control.stop()
