"""`isthmus edge`: run the heads of a bundle over pictures, over arrays, or as a daemon."""

import argparse
import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from isthmus import (
    AgentClosedError,
    ConfigError,
    PictureError,
    TensorSpec,
    load_picture,
    picture_files,
)
from isthmus_cli.console import print_json
from isthmus_cli.edge_ending import Ending
from isthmus_cli.edge_flags import add_flags, agent_config, check_usage
from isthmus_cli.edge_stats import stats_lines, summary
from isthmus_edge import Agent, Answer, Inputs, Stats, read_rows

DESCRIPTION = """\
Answer pictures with a bundle: the early layers here, the rest at --cloud, and the cut
chosen anew for every frame from the link as it is. Without --cloud, or while it cannot
be reached, the device answers alone; a frame whose link breaks is finished here from the
tensors in hand, or sent once more when the link is back first. PICTURE may be files or
folders; a model that takes no picture gets its inputs from an .npz file with arrays
[n,*shape] by name. Ctrl-C ends the run in order: it closes with what it came to.

With --config it stays: a daemon that watches folders, cameras or stdin, and answers
programs on this device by the Open Inference Protocol. `isthmus edge check` looks a
configuration over, `isthmus edge status` asks the daemon how it is; `isthmus edge profile`
measures a kit. (A bundle of one of these names goes by ./status.)
"""
EXAMPLES = """\
  isthmus edge lite0.bundle cat.jpg --cloud 127.0.0.1:50051
  isthmus edge lite0.bundle --cloud 127.0.0.1:50051 --objective throughput --repeat 10 photos/
  isthmus edge lite0.bundle cat.jpg --cloud dns:cloud:50051 --tls-ca ca.pem --token-file token
  isthmus edge lite0.bundle cat.jpg --stats          # the whole network on this device
  isthmus edge speech.bundle --inputs sounds.npz --cloud 127.0.0.1:50051
  isthmus edge check --config edge.toml
  isthmus edge --config edge.toml                    # the daemon
  isthmus edge status
"""

READ_AHEAD = 16  # items on their way while the oldest is waited for

_Item = tuple[str, Inputs | PictureError]

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run", "summary"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Answer every item; 1 if a picture could not be read, after answering the others."""
    check_usage(options)
    if options.config is not None:
        return _run_daemon(options)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING)
    ending = Ending()
    with ending.heeded():
        status = _run_once(options, ending)
    ending.pass_on()
    return status


def _run_once(options: argparse.Namespace, ending: Ending) -> int:
    config = agent_config(options)
    files = [] if options.inputs else picture_files(options.pictures) * options.repeat
    told = _Told(options)
    with Agent.open(config) as agent:
        ending.closes(agent)
        items = _rows(agent, options) if options.inputs else _pictures(agent, files)
        items = takewhile(lambda _: not ending.is_told, items)
        for name, outcome in _submitted(agent, items, options.deadline_ms):
            told.tell(name, outcome)
        told.link = agent.stats()
    told.close(agent.stats())
    return 1 if told.unreadable else 0


def _run_daemon(options: argparse.Namespace) -> int:
    from isthmus_edge.daemon import run_daemon  # noqa: PLC0415 (a one-shot run needs none of it)

    return run_daemon(options.config, options.log_format)


@dataclass(slots=True)
class _Told:
    """What was printed so far, and what has to wait for the end."""

    options: argparse.Namespace
    answers: list[dict[str, Any]] = field(default_factory=list)
    unreadable: int = 0
    link: Stats | None = None  # as it was before the end closed it

    def tell(self, name: str, outcome: "Future[Answer] | PictureError") -> None:
        """Print one answer when it is there, or why there is none.

        Frames that a second signal ended have none; the closing line counts them.
        """
        if isinstance(outcome, PictureError):
            self.unreadable += 1
            sys.stderr.write(f"isthmus edge: {outcome}\n")
            return
        try:
            answer = outcome.result()
        except AgentClosedError:
            return
        kind = "item" if self.options.inputs else "picture"
        self.answers.append({kind: name} | _row(answer, self.options.top))
        if not self.options.json:
            print(_line(name, answer, self.options.top), flush=True)

    def close(self, stats: Stats) -> None:
        """Print what all of it came to."""
        if self.link is not None:
            last = self.link
            stats = replace(stats, link=last.link, link_state=last.link_state, service=last.service)
        if self.options.json:
            figures = asdict(stats)
            print_json({"answers": self.answers, "unreadable": self.unreadable, "stats": figures})
        else:
            print("\n".join([summary(stats), *(stats_lines(stats) if self.options.stats else [])]))
        sys.stdout.flush()  # for whatever signal comes now


def _pictures(agent: Agent, files: list[Path]) -> Iterator[_Item]:
    inputs = agent.manifest.inputs
    if len(inputs) != 1 or not _is_picture(inputs[0]):
        wanted = ", ".join(f"{s.name!r} {s.data_type} {list(s.shape)}" for s in inputs)
        raise ConfigError(
            f"the model of this bundle takes {wanted} and no picture; give --inputs FILE.npz with "
            "an array of rows by each of these names"
        )
    height, width, _ = inputs[0].shape
    for file in files:
        try:
            yield file.name, load_picture(file, height, width)
        except PictureError as error:
            yield file.name, error


def _is_picture(spec: TensorSpec) -> bool:
    return spec.data_type == "uint8" and len(spec.shape) == 3 and spec.shape[2] == 3


def _rows(agent: Agent, options: argparse.Namespace) -> Iterator[_Item]:
    for _ in range(options.repeat):
        for index, row in enumerate(read_rows(options.inputs, agent.manifest.inputs)):
            yield f"row {index}", row


def _submitted(
    agent: Agent, items: Iterable[_Item], deadline_ms: float | None
) -> Iterator[tuple[str, Future[Answer] | PictureError]]:
    """Name and answer-to-be of each item, in order, with some items read ahead.

    None is read any more once the agent is closed; those that it has accepted are given all.
    """
    ahead: deque[tuple[str, Future[Answer] | PictureError]] = deque()
    for name, item in items:
        try:
            outcome = item if isinstance(item, PictureError) else agent.submit(item, deadline_ms)
        except AgentClosedError:
            break
        ahead.append((name, outcome))
        if len(ahead) > READ_AHEAD:
            yield ahead.popleft()
    yield from ahead


def _row(answer: Answer, top: int) -> dict[str, Any]:
    return {
        "top": [{"label": label, "score": score} for label, score in answer.top(top)],
        "place": answer.place,
        "candidate": answer.candidate,
        "rung": answer.rung,
        "latency_ms": round(answer.latency_ms, 2),
        "payload_bytes": answer.payload_bytes,
    }


def _line(name: str, answer: Answer, top: int) -> str:
    classes = ", ".join(f"{label} {score:.2f}" for label, score in answer.top(top))
    where = f"{answer.place}, {answer.candidate}, {answer.payload_bytes} bytes sent"
    return f"{name}: {classes}  ({answer.latency_ms:.0f} ms, {where})"
