"""The device of `isthmus bench plan`: a process that answers single frames as it is told to.

It takes commands as lines of JSON on stdin and answers each with one line on stdout:

    {"do": "frame", "way": W, "item": I}              one item; what it took, in terms
    {"do": "pipelined", "way": W, "items": [I, …]}    frames/s of these items without pause
    {"do": "link"}                                    what the agent has learned of the link
    {"do": "control", "way": W, "as_planned_ms": T, "pause_s": P}
                                                      keep the board's speed, see `SlowBoard`

A way is a candidate of the bundle, or the whole network of a bundle that never sends anything
(`--alone`, named after its folder). Like a device, it loads no partitioner.
"""

import argparse
import json
import queue
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np

from isthmus import IsthmusError, TensorSpec, max_frame_bytes, open_bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.slow_board import SlowBoard
from isthmus_edge import Agent, AgentConfig, Answer
from isthmus_edge.device.calloff import CallOff
from isthmus_edge.runtimes import AnyArray
from isthmus_edge.stream.transport import Connection, GrpcTransport, OnEnd, OnMessage, Transport

CONNECT_S = 20.0  # on a machine that is busy
PATIENCE_MS = 120_000.0  # a measured frame waits for the cloud, however slow the link
SILENCE_S = 30.0
_CONTROLS = 3  # runs of the control work each time,
_RECENT = 9  # and how many count

Result = TypeVar("Result")

__all__ = ["main", "read_items", "write_items"]


def main(arguments: list[str] | None = None) -> int:
    """Obey until stdin closes."""
    parser = argparse.ArgumentParser(prog="python -m isthmus_bench.plan.device")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--cloud", required=True)
    parser.add_argument("--items", type=Path, required=True, help="as `write_items` wrote them")
    parser.add_argument("--alone", type=Path, required=True, help="a folder of such bundles")
    parser.add_argument("--factor", type=float, required=True, help="of the imitated slow board")
    parser.add_argument("--top-k", type=int, required=True, help="values of an answer, 0: all")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the bench says when to end, by closing stdin
    device = None
    try:
        device = _Device(parser.parse_args(arguments))
        for line in sys.stdin:
            _say(device.obey(json.loads(line)))
    except IsthmusError as error:
        _say({"event": "error", "message": str(error)})
        return 1
    finally:
        if device is not None:
            device.close()
    return 0


def write_items(path: Path, columns: Sequence[AnyArray]) -> None:
    """Write items for a device; the inputs' arrays [n,*shape] in the order of the inputs."""
    np.savez(path, *columns)


def read_items(path: Path, inputs: Sequence[TensorSpec]) -> list[dict[str, AnyArray]]:
    """What `write_items` wrote: the inputs of each item by their names."""
    with np.load(path, allow_pickle=False) as columns:
        arrays = {spec.name: columns[f"arr_{i}"] for i, spec in enumerate(inputs)}
    rows = len(arrays[inputs[0].name])
    return [{name: array[row] for name, array in arrays.items()} for row in range(rows)]


def _say(fields: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class _Device:
    """The board: an agent with a cloud, and others that have none."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._agents: list[_Timed] = []
        self._ways: dict[str, tuple[_Timed, str]] = {}
        self._control_ms: deque[float] = deque(maxlen=_RECENT)
        inputs = open_bundle(options.bundle, "device").manifest.inputs
        self._items = read_items(options.items, inputs)
        try:
            self._add(_Timed(options.bundle, options.cloud, options.factor, options.top_k), None)
            for folder in sorted(options.alone.iterdir()):
                self._add(_Timed(folder, None, options.factor, 0), folder.name)
        except BaseException:
            self.close()
            raise

    def _add(self, agent: "_Timed", name: str | None) -> None:
        self._agents.append(agent)
        if name is not None:
            self._ways[name] = (agent, agent.local)
        else:
            self._ways |= {candidate: (agent, candidate) for candidate in agent.candidates}

    def close(self) -> None:
        """Release everything."""
        for agent in self._agents:
            agent.close()

    def obey(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Do what `command["do"]` says."""
        if command["do"] == "link":
            return self._agents[0].link()
        agent, candidate = self._ways[command["way"]]
        if command["do"] == "control":
            return {"drift": self._keep_speed(agent, command["as_planned_ms"], command["pause_s"])}
        if command["do"] == "frame":
            return agent.frame(self._items[command["item"]], candidate)
        return agent.pipelined([self._items[item] for item in command["items"]], candidate)

    def _keep_speed(self, agent: "_Timed", as_planned_ms: float, pause_s: float) -> float:
        """How many times longer this machine takes for `agent`'s whole network than as planned."""
        for _ in range(_CONTROLS):
            self._control_ms.append(agent.control_ms(self._items[0], pause_s))
        drift = median(self._control_ms) / as_planned_ms
        for each in self._agents:
            each.keep_speed(drift)
        return drift


class _Timed:
    """An agent that is told each frame's candidate, and what its last frame took where."""

    def __init__(self, bundle: Path, cloud: str | None, factor: float, top_k: int) -> None:
        config = AgentConfig(
            bundle=bundle,
            cloud=cloud,
            require_cloud=cloud is not None,
            connect_timeout_s=CONNECT_S,
            answer_top_k=top_k,
            heed_vitals=False,  # of this machine, which is not the board
            video="off",  # the same few items come again and again: no camera
            patience_ms=PATIENCE_MS,
            silence_s=SILENCE_S,
        )
        self._board = _NotedBoard(factor)
        self._ear: _Ear | None = None
        if cloud is not None:
            limit = max_frame_bytes(open_bundle(bundle, "device").manifest)
            self._ear = _Ear(GrpcTransport(cloud, None, limit))
        self._agent = Agent.open(config, pace=self._board, transport=self._ear)

    @property
    def candidates(self) -> tuple[str, ...]:
        return tuple(candidate.id for candidate in self._agent.manifest.candidates)

    @property
    def local(self) -> str:
        return self._agent.manifest.local.id

    def close(self) -> None:
        self._agent.close()

    def link(self) -> dict[str, Any]:
        link = self._agent.stats().link
        return {} if link is None else asdict(link)

    def control_ms(self, item: Mapping[str, AnyArray], pause_s: float) -> float:
        """What the whole network takes of this machine's processor, after a pause."""
        with self._board.left_out():
            time.sleep(pause_s)
            self._agent.submit(item, candidate=self.local).result()
            return self._board.last_ms

    def keep_speed(self, drift: float) -> None:
        self._board.keep_speed(drift)

    def frame(self, item: Mapping[str, AnyArray], candidate: str) -> dict[str, Any]:
        answer = self._agent.submit(item, candidate=candidate).result()
        is_remote = self._ear is not None and candidate != self.local
        return {
            "is_right": self._came_as_told(answer, candidate),
            "latency_ms": answer.latency_ms,
            "device_ms": self._board.last_ms,
            "cloud_ms": self._ear.last_ms if self._ear is not None and is_remote else 0.0,
            "payload_bytes": answer.payload_bytes,
        }

    def pipelined(self, items: Sequence[Mapping[str, AnyArray]], candidate: str) -> dict[str, Any]:
        """Frames a second between the first and the last answer."""
        ends: queue.SimpleQueue[tuple[float, Future[Answer]]] = queue.SimpleQueue()
        for item in items:
            future = self._agent.submit(item, candidate=candidate)
            future.add_done_callback(lambda future: ends.put((time.perf_counter(), future)))
        ended_at, futures = zip(*(ends.get() for _ in items), strict=True)
        answers = [future.result() for future in futures]
        return {
            "is_right": all(self._came_as_told(answer, candidate) for answer in answers),
            "fps": (len(answers) - 1) / (max(ended_at) - min(ended_at)),
        }

    def _came_as_told(self, answer: Answer, candidate: str) -> bool:
        """Whether the way that is being measured was gone to its end."""
        return (candidate == self.local) == (answer.place == "device")


class _NotedBoard:
    """A `SlowBoard` that remembers what the last piece of work took."""

    def __init__(self, factor: float) -> None:
        self._board = SlowBoard(factor)
        self._is_left_out = False
        self.last_ms = 0.0

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Work takes its own processor time in here, and is not remembered for others."""
        self._is_left_out = True
        try:
            yield
        finally:
            self._is_left_out = False

    def keep_speed(self, drift: float) -> None:
        self._board.keep_speed(drift)

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        if self._is_left_out:
            begin_s = time.thread_time()
            result, self.last_ms = work(), (time.thread_time() - begin_s) * 1e3
        else:
            result, self.last_ms = self._board.run(kind, work, call_off)
        return result, self.last_ms


class _Ear:
    """A `Transport` that remembers what the cloud computed for the last answer."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.last_ms = 0.0

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        def heard(message: pb.CloudMessage) -> None:
            if message.WhichOneof("kind") == "result":
                timing = message.result.timing
                self.last_ms = timing.queue_ms + timing.decode_ms + timing.run_ms
            on_message(message)

        return self._transport.connect(heard, on_end)


if __name__ == "__main__":
    sys.exit(main())
