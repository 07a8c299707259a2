"""`isthmus edge`: run the heads of a bundle over pictures, or over arrays."""

import argparse
import logging
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

from isthmus import ConfigError, PictureError, TensorSpec, load_picture, picture_files
from isthmus_cli.console import print_json
from isthmus_cli.numbers import count, duration
from isthmus_edge import Agent, AgentConfig, Answer, Inputs, Stats, read_rows

DESCRIPTION = """\
Answer pictures with a bundle: the early layers here, the rest at --cloud, and the cut
chosen anew for every frame from the link as it is. Without --cloud, or while it cannot
be reached, the device answers alone; a frame whose link breaks is finished here from the
tensors in hand, or sent once more when the link is back first. PICTURE may be files or
folders; a model that takes no picture gets its inputs from an .npz file with arrays
[n,*shape] by name.
"""
EXAMPLES = """\
  isthmus edge lite0.bundle cat.jpg --cloud 127.0.0.1:50051
  isthmus edge lite0.bundle photos/ --cloud 127.0.0.1:50051 --objective throughput --repeat 10
  isthmus edge lite0.bundle cat.jpg                  # the whole network on this device
  isthmus edge speech.bundle --inputs sounds.npz --cloud 127.0.0.1:50051
"""

READ_AHEAD = 16  # items on their way while the oldest is waited for

_Item = tuple[str, Inputs | PictureError]

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run", "summary"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="directory that `isthmus build` wrote")
    what = parser.add_mutually_exclusive_group(required=True).add_argument
    what(
        "pictures",
        type=Path,
        nargs="*",
        default=[],
        metavar="PICTURE",
        help="picture files or folders",
    )
    what("--inputs", type=Path, metavar="NPZ", help="rows of arrays, in place of pictures")
    add("--cloud", metavar="HOST:PORT", help="where `isthmus cloud` listens")
    add("--tls-ca", type=Path, metavar="PEM", help="certificate to trust for --cloud")
    add("--insecure", action="store_true", help="talk to another machine without TLS")
    add(
        "--require-cloud",
        action="store_true",
        help="end with an error if --cloud cannot be reached at the start "
        "(default: answer here, and go on trying)",
    )
    add("--top", type=count, default=3, metavar="K", help="classes to print (default %(default)s)")
    add("--repeat", type=count, default=1, metavar="N", help="go N times over the items")
    add("--json", action="store_true", help="print answers and statistics as JSON")
    add("--verbose", action="store_true", help="log switches and the state of the link")
    _add_wishes(parser)


def _add_wishes(parser: argparse.ArgumentParser) -> None:
    """What is wanted of the policy, or decided in its place."""
    add = parser.add_argument
    add("--objective", choices=["latency", "throughput"], default="latency")
    add(
        "--power",
        choices=["full", "saver"],
        default="full",
        help="saver: of what is in time, the way that costs this device least energy",
    )
    add(
        "--audit-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the frames, also sent raw for the cloud to compare with the unsplit model",
    )
    add(
        "--candidate",
        metavar="ID[@RUNG]",
        help="pin one candidate of the plan, or one rung of it (0 is the finest), and do not adapt",
    )
    add("--fixed-rung", action="store_true", help="always the coarsest rung above the floor")
    add(
        "--video",
        choices=["auto", "off"],
        default="auto",
        help="off: never send a frame as the difference to the one before (default %(default)s)",
    )
    add("--deadline-ms", type=duration, help="finish on the device rather than be later than this")


def run(options: argparse.Namespace) -> int:
    """Answer every item; 1 if a picture could not be read, after answering the others."""
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    config = _config(options)
    files = [] if options.inputs else picture_files(options.pictures) * options.repeat
    kind = "item" if options.inputs else "picture"
    with Agent.open(config) as agent:
        answers, unreadable = [], 0
        items = _rows(agent, options) if options.inputs else _pictures(agent, files)
        for name, outcome in _submitted(agent, items, options.deadline_ms):
            if isinstance(outcome, PictureError):
                unreadable += 1
                sys.stderr.write(f"isthmus edge: {outcome}\n")
                continue
            answer = outcome.result()
            answers.append({kind: name} | _row(answer, options.top))
            if not options.json:
                print(_line(name, answer, options.top), flush=True)
        stats = agent.stats()
    if options.json:
        print_json({"answers": answers, "unreadable": unreadable, "stats": asdict(stats)})
    else:
        print(summary(stats))
    return 1 if unreadable else 0


def _config(options: argparse.Namespace) -> AgentConfig:
    return AgentConfig(
        bundle=options.bundle,
        cloud=options.cloud,
        tls_ca=options.tls_ca,
        insecure=options.insecure,
        require_cloud=options.require_cloud,
        objective=options.objective,
        power=options.power,
        audit_share=options.audit_share,
        candidate=options.candidate,
        rate_control=not options.fixed_rung,
        video=options.video,
        answer_top_k=options.top,
    )


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
    """Name and answer-to-be of each item, in order, with some items read ahead."""
    ahead: deque[tuple[str, Future[Answer] | PictureError]] = deque()
    for name, item in items:
        if isinstance(item, PictureError):
            ahead.append((name, item))
        else:
            ahead.append((name, agent.submit(item, deadline_ms)))
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


def summary(stats: Stats) -> str:
    """All that a run comes to: counts, and a second line where the link was too thin."""
    lost = stats.accepted - stats.answered_cloud - stats.answered_device - stats.errors
    line = (
        f"accepted {stats.accepted}, answered {stats.answered_cloud + stats.answered_device} "
        f"(cloud {stats.answered_cloud}, device {stats.answered_device}), "
        f"errors {stats.errors}, lost {lost}, switches {len(stats.switches)}"
    )
    if stats.candidate is not None:
        line += f", last {stats.candidate} at rung {stats.rung}"
    if stats.rate_advice is not None:
        line += f"\nno allowed rung fits the link: {stats.rate_advice}"
    return line
