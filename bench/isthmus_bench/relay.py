"""A slow link for one TCP port: a loopback relay with rate, round trip time and live changes.

`Relay` starts it as a process of its own, so that nothing in the caller disturbs its timers. It can
also be run by hand; it prints one line of JSON with its port, takes changes as lines of JSON on
stdin, answers each when it is in force, and ends when stdin closes or on SIGTERM or SIGINT::

    python -m isthmus_bench.relay --to 127.0.0.1:50051 --uplink-mbps 5.85 --rtt-ms 40
    {"listen": "127.0.0.1:41234", "port": 41234}
    {"uplink_mbps": 1.1, "downlink_mbps": 1.1, "rtt_ms": 40}
    {"ok": true, "uplink_mbps": 1.1, "downlink_mbps": 1.1, "rtt_ms": 40.0}
    {"reset": true}
    {"ok": true, "reset": true}

A rate of 0 passes nothing and breaks nothing; `null` is unshaped; a key left out stays as it is.

What it cannot show: loss, congestion control and TCP's silence after an outage, because the
sender's TCP sees loopback. Rates are payload rates, without headers. Bytes that an application has
handed to its socket may be far from having left: about 40 KB stand in the relay's own buffer (1.6 s
at 0.2 Mbit/s), and the sender's kernel buffer, which grows to megabytes, is out of its hands.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import signal
import sys
import threading
from typing import Any

from isthmus.errors import ConfigError
from isthmus_bench.relay_client import Relay
from isthmus_bench.relay_protocol import SHAPE_KEYS, changed_shape, described, parsed_command
from isthmus_bench.relay_server import EmulatedLink, open_listener
from isthmus_bench.shaping import LinkShape

__all__ = ["LinkShape", "Relay", "main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the relay until stdin closes; exit status 1 and one line on stderr for a bad setting."""
    options = _parser().parse_args(arguments)
    try:
        target = _address("--to", options.to)
        listen = _address("--listen", options.listen)
        shape = changed_shape(LinkShape(), {key: getattr(options, key) for key in SHAPE_KEYS})
        asyncio.run(_serve(listen, target, shape))
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
    return parser


async def _serve(listen: tuple[str, int], target: tuple[str, int], shape: LinkShape) -> None:
    loop = asyncio.get_running_loop()
    link = EmulatedLink(target, shape)
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    with open_listener(*listen) as listener:
        host, port = listener.getsockname()[:2]
        _answer({"listen": _joined(host, port), "port": port})
        ends = {
            loop.create_task(link.accept(listener)),
            loop.create_task(_obey(link, shape)),
            loop.create_task(stopped.wait()),
        }
        done, others = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await link.reset()
        for task in done:
            task.result()


async def _obey(link: EmulatedLink, shape: LinkShape) -> None:
    """Carry out the commands on stdin, one by one, until it closes."""
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    reader = threading.Thread(
        target=_read_stdin, args=(asyncio.get_running_loop(), lines), daemon=True
    )
    reader.start()
    while line := await lines.get():
        try:
            command = parsed_command(line)
            if "reset" in command:
                await link.reset()
                _answer({"ok": True, "reset": True})
                continue
            shape = changed_shape(shape, command)
            link.shape(shape)
            _answer({"ok": True, **described(shape)})
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
