"""The runtimes that this machine has, each with a Python that can run it, and orders to them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from isthmus import RuntimeName
from isthmus_bench.edge.config import EdgeBenchConfig, checkout
from isthmus_bench.edge.orders import Order, Reply
from isthmus_edge.runtimes import RUNTIME_NAMES

__all__ = ["Ask", "Device", "ask", "find_devices"]

_PATIENCE_S = 600.0
_MODULE = "isthmus_bench.edge.device"


@dataclass(frozen=True, slots=True)
class Device:
    """A runtime in a Python of its own or in this one; or the `problem` why it is not measured."""

    runtime: RuntimeName
    python: Path
    version: str = ""
    problem: str | None = None


Ask = Callable[[Device, Order], Reply]


def ask(device: Device, order: Order) -> Reply:
    """What a fresh process of the device says; a process that dies says so as the `problem`."""
    try:
        ran = subprocess.run(
            [str(device.python), "-P", "-m", _MODULE],
            input=msgspec.json.encode(order),
            env=_environment(device.python),
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except OSError as error:
        return Reply(problem=f"{device.python} cannot be started ({error.strerror})")
    except subprocess.TimeoutExpired:
        return Reply(problem=f"{device.runtime} said nothing for {_PATIENCE_S:.0f} s")
    try:
        return msgspec.json.decode(ran.stdout.strip().rpartition(b"\n")[2], type=Reply)
    except msgspec.DecodeError:
        said = ran.stderr.decode(errors="replace").strip().splitlines()
        why = said[-1] if said and ran.returncode > 0 else f"it ended with {ran.returncode}"
        return Reply(problem=f"a process with {device.runtime} failed: {why}")


def find_devices(config: EdgeBenchConfig, ask: Ask = ask) -> tuple[Device, ...]:
    """One for every runtime that Isthmus knows."""
    return tuple(_found(name, config, ask) for name in RUNTIME_NAMES)


def _found(name: RuntimeName, config: EdgeBenchConfig, ask: Ask) -> Device:
    problems: list[str] = []
    for python in _pythons(name, config):
        reply = ask(Device(name, python), Order(do="describe", runtime=name))
        if reply.problem is None:
            return Device(name, python, reply.version)
        problems.append(reply.problem)
    return Device(name, Path(sys.executable), problem="; ".join(dict.fromkeys(problems)))


def _pythons(name: RuntimeName, config: EdgeBenchConfig) -> Iterator[Path]:
    """tflite-runtime wants an environment of its own: its numpy is too old for the tools here."""
    if name == "tflite-runtime":
        if config.tflite_python is not None:
            yield config.tflite_python
            return
        folder = checkout()
        if folder is not None and (python := folder / ".venv-tflite" / "bin" / "python").exists():
            yield python
    yield Path(sys.executable)


def _environment(python: Path) -> dict[str, str]:
    """Where another Python is to find its packages is its own business."""
    if python == Path(sys.executable):
        return dict(os.environ)
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
