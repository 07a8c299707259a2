"""Configuration files of daemons, and the daemon as a process of its own."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from tests.commands import PATIENCE_S, Command, until
from tests.tinybundle import tiny_pictures

from isthmus import LinkError
from isthmus_edge import Agent, AgentConfig, Stats
from isthmus_edge.daemon import Status, ask_status
from isthmus_edge.daemon.serving import Answering

CONFIG = "edge.toml"
CONTROL = "control.sock"
ANSWERS = "answers.jsonl"
ENDPOINT = '[endpoint]\nunix = "oip.sock"\n'
FROM_STDIN = ('kind = "directory"\npath = "in"', 'kind = "stdin"')  # in place of the folder


def write_config(folder: Path, bundle: Path, more: str = "", *, agent: str = "") -> Path:
    """A daemon that watches the folder `in` and appends answers to a file."""
    (folder / "in").mkdir(exist_ok=True)
    text = f"""
[agent]
bundle = "{bundle}"
heed_vitals = false
{agent}
[[source]]
kind = "directory"
path = "in"
[output]
file = "{ANSWERS}"
[service]
control = "{CONTROL}"
{more}
"""
    path = folder / CONFIG
    path.write_text(text, encoding="utf-8")
    return path


def put_picture(folder: Path, name: str, index: int = 0) -> None:
    """Written elsewhere and renamed: all of it is there at once."""
    hidden = folder / f".{name}"
    Image.fromarray(tiny_pictures(index + 1)[index][0]).save(hidden, "png")
    hidden.rename(folder / name)


class RunningDaemon(Command):
    """`isthmus edge --config FILE`, running and ready."""

    def __init__(self, config: Path, *flags: object) -> None:
        self.folder = config.parent
        super().__init__("edge", "--config", config, *flags)
        try:
            until(self._is_running, "the daemon runs")
        except BaseException:
            self.__exit__()
            raise

    def status(self) -> Status:
        return ask_status(self.folder / CONTROL)

    def answers(self) -> list[str]:
        """Whole lines of the output."""
        path = self.folder / ANSWERS
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def events(self) -> list[str]:
        return [str(event["event"]) for event in self.status().events]

    def _is_running(self) -> bool:
        assert self.process.poll() is None, self.complaints()
        try:
            return self.status().state == "running"
        except LinkError:
            return False


def tell(event: str, level: int = 0, **fields: Any) -> None:
    """Nobody listens."""


def open_agent(config: AgentConfig) -> Answering:
    return Agent.open(config)


async def until_soon(happened: Callable[[], object], what: str) -> None:
    """As `until`, while the loop goes on."""
    async with asyncio.timeout(PATIENCE_S):
        while not happened():  # noqa: ASYNC110 - a file of another thread has no event
            await asyncio.sleep(0)
    assert happened(), what


@contextmanager
def own_stdin() -> Iterator[BinaryIO]:
    """What is written here comes by descriptor 0."""
    pipe, end = os.pipe()
    saved = os.dup(0)
    os.dup2(pipe, 0)
    try:
        with os.fdopen(end, "wb", buffering=0) as writing:
            yield writing
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(pipe)


def stats_of(**counts: Any) -> Stats:
    """A `Stats` in which nothing has happened but `counts`."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("accepted", "answered_cloud", "answered_device", "errors", "stale", "pending"), 0
    )
    nothing |= dict.fromkeys(("duplicates", "connects", "sent_again"), 0)
    nothing |= {
        "link_state": "none",
        "link": None,
        "candidate": None,
        "rung": None,
        "rate_advice": None,
        "device_scale": 1.0,
        "switches": (),
    }
    return Stats(**(nothing | counts))
