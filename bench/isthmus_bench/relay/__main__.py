"""The relay as a process: its flags, its lines of JSON, and its end."""

import argparse
import asyncio
import contextlib
import json
import math
import os
import selectors
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from isthmus.errors import ConfigError
from isthmus_bench.relay.protocol import (
    SHAPE_KEYS,
    Command,
    Play,
    changed_shape,
    parsed_command,
    parsed_script,
)
from isthmus_bench.relay.server import EmulatedLink
from isthmus_bench.relay.shape import LinkShape
from isthmus_bench.relay.sockets import open_listener
from isthmus_bench.relay.steering import Steering
from isthmus_bench.traces import read_trace

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the relay until stdin closes; exit status 1 and one line on stderr for a bad setting."""
    options = _parser().parse_args(arguments)
    try:
        target = _address("--to", options.to)
        listen = _address("--listen", options.listen)
        shape = changed_shape(LinkShape(), {key: getattr(options, key) for key in SHAPE_KEYS})
        with asyncio.Runner(loop_factory=_prompt_loop) as runner:
            runner.run(_serve(listen, target, shape, _first_commands(options)))
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m isthmus_bench.relay",
        description="Imitates a slow link to one TCP port; takes changes as JSON lines on stdin.",
    )
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="where connections go")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    rate_help = "0: nothing passes; inf (the default): unshaped"
    parser.add_argument("--uplink-mbps", type=float, default=math.inf, help=rate_help)
    parser.add_argument("--downlink-mbps", type=float, default=math.inf, help=rate_help)
    parser.add_argument("--rtt-ms", type=float, default=0.0, help="round trip time (default 0)")
    parser.add_argument("--jitter-ms", type=float, default=0.0, help="up to this more (default 0)")
    parser.add_argument("--stalls-per-s", type=float, default=0.0, help="as after a lost packet")
    parser.add_argument("--stall-ms", type=float, default=0.0, help="how long a stall takes")
    parser.add_argument("--seed", type=int, default=0, help="of jitter and stalls (default 0)")
    parser.add_argument("--trace", metavar="FILE", help="CSV t_s,mbps or mahimahi, both directions")
    parser.add_argument("--script", metavar="FILE", help="JSON: [[seconds, command], ...]")
    return parser


def _first_commands(options: argparse.Namespace) -> list[Command]:
    """What the files in the flags ask for."""
    commands: list[Command] = []
    if options.trace is not None:
        commands.append(Play(read_trace(options.trace)))
    if options.script is not None:
        try:
            steps = json.loads(Path(options.script).read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"--script {options.script}: cannot be used ({error}); give a file with a JSON list"
                " of [seconds, command]"
            ) from error
        commands.append(parsed_script(steps))
    return commands


def _prompt_loop() -> asyncio.AbstractEventLoop:
    """A loop whose timers are true to 0.1 ms: those over epoll are rounded up to whole ms."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _serve(
    listen: tuple[str, int], target: tuple[str, int], shape: LinkShape, first: list[Command]
) -> None:
    loop = asyncio.get_running_loop()
    link = EmulatedLink(target, shape)
    steering = Steering(link, shape)
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    with open_listener(*listen) as listener:
        for command in first:
            await steering.carry_out(command)
        host, port = listener.getsockname()[:2]
        _answer({"listen": _joined(host, port), "port": port})
        ends = {
            loop.create_task(link.accept(listener)),
            loop.create_task(_obey(steering)),
            loop.create_task(stopped.wait()),
        }
        done, others = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)  # select() fails on a closed listener
        await steering.stop()
        await link.reset()
        for task in done:
            task.result()


async def _obey(steering: Steering) -> None:
    """Carry out the commands on stdin, one by one, until it closes."""
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    reader = threading.Thread(
        target=_read_stdin, args=(asyncio.get_running_loop(), lines), daemon=True
    )
    reader.start()
    while line := await lines.get():
        try:
            _answer({"ok": True, **await steering.carry_out(parsed_command(line))})
        except ConfigError as error:
            _answer({"ok": False, "error": str(error)})


def _read_stdin(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[bytes]) -> None:
    """Feed stdin to the loop line by line, an empty line last.

    A thread, because an event loop cannot watch a file or /dev/null; os.read, because a thread that
    sleeps inside sys.stdin holds a lock that the interpreter needs in order to exit.
    """
    held = b""
    with contextlib.suppress(RuntimeError):  # the loop was closed by a signal
        while data := os.read(0, 4096):
            *complete, held = (held + data).split(b"\n")
            for line in complete:
                loop.call_soon_threadsafe(lines.put_nowait, line + b"\n")
        loop.call_soon_threadsafe(lines.put_nowait, b"")


def _answer(fields: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _address(flag: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{flag} is {text!r}; give HOST:PORT, for instance 127.0.0.1:50051")
    return host.strip("[]"), int(port)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


if __name__ == "__main__":
    sys.exit(main())
