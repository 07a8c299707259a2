"""The device of `isthmus bench adapt`: a process with one agent at a time, and a camera.

It takes commands as lines of JSON on stdin and answers each with one line on stdout:

    {"do": "open", "cloud": A, "candidate": ID, "estimator": E}   a fresh agent; ID, A may be null
    {"do": "warm-up", "candidates": [ID, …]}     a frame each, null: the agent's own choice
    {"do": "settle", "frames": N, "after": M}    so many frames once the link is up again, on a
                                                 stream later than the M-th, which was broken
    {"do": "start", "frames": N, "fps": F, …}    the camera runs (`Shot`); when it has begun;
                                                 with "watch", changes of the link's state are noted
    {"do": "finish"}                             how every frame ended, and the agent's figures
    {"do": "cold-start", "cloud": A}             from opening an agent to its first answer
    {"do": "close"}                              the agent ends

All processes of one machine share its monotonic clock, by which everybody tells times here.
"""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from isthmus import IsthmusError, LinkError, open_bundle
from isthmus_bench.adapt.board import PlannedBoard
from isthmus_bench.adapt.camera import Camera, Shot
from isthmus_bench.adapt.ewma import EwmaEstimator
from isthmus_bench.adapt.runs import EWMA, OURS
from isthmus_bench.plan.device import read_items
from isthmus_edge import Agent, AgentConfig, Answer, LinkEstimator
from isthmus_edge.link import Estimator

CONNECT_S = 20.0  # on a machine that is busy
_WATCH_S = 0.01
_ESTIMATORS: Mapping[str, Callable[[], Estimator]] = {
    OURS: LinkEstimator,
    EWMA: EwmaEstimator,
}

__all__ = ["await_new_stream", "main"]


def main(arguments: list[str] | None = None) -> int:
    """Obey until stdin closes."""
    parser = argparse.ArgumentParser(prog="python -m isthmus_bench.adapt.device")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--items", type=Path, required=True, help="as `write_items` wrote them")
    parser.add_argument("--top-k", type=int, required=True, help="values of an answer, 0: all")
    parser.add_argument(
        "--deadline-ms", type=float, required=True, help="told with each frame, 0: none"
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the bench says when to end, by closing stdin
    device = _Device(parser.parse_args(arguments))
    try:
        for line in sys.stdin:
            command = json.loads(line)
            _say(device.obey(command.pop("do"), command))
    except IsthmusError as error:
        _say({"event": "error", "message": str(error)})
        return 1
    finally:
        device.close()
    return 0


def _say(fields: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class _Device:
    """The board."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        manifest = open_bundle(options.bundle, "device").manifest
        self._items = read_items(options.items, manifest.inputs)
        self._board = PlannedBoard(manifest)
        self._local = manifest.local.id
        self._agent: Agent | None = None
        self._camera: Camera | None = None
        self._watch: _Watch | None = None
        self._before: Any = None
        self._verbs: dict[str, Callable[..., Mapping[str, Any]]] = {
            "open": self._open,
            "warm-up": self._warm_up,
            "settle": self._settle,
            "start": self._start,
            "finish": self._finish,
            "cold-start": self._cold_start,
            "close": self._close_agent,
        }

    def obey(self, verb: str, command: Mapping[str, Any]) -> Mapping[str, Any]:
        """Carry a command out."""
        return self._verbs[verb](**command)

    def close(self) -> None:
        """Release everything."""
        if self._agent is not None:
            self._agent.close()

    def _open(
        self, cloud: str | None, candidate: str | None = None, estimator: str = OURS
    ) -> Mapping[str, Any]:
        config = self._config(cloud, candidate, require_cloud=cloud is not None)
        kind = _ESTIMATORS[estimator]
        self._agent = Agent.open(config, pace=self._board, estimator=kind)
        return {}

    def _config(
        self, cloud: str | None, candidate: str | None, *, require_cloud: bool
    ) -> AgentConfig:
        config = AgentConfig(
            bundle=self._options.bundle,
            cloud=cloud,
            require_cloud=require_cloud,  # a run without its link would measure another policy
            candidate=candidate,
            answer_top_k=self._options.top_k,
            heed_vitals=False,  # of this machine, which is not the board
            video="off",  # the same few items come again and again: neighbours share nothing
            when_full="drop-oldest",
        )
        return replace(config, connect_timeout_s=CONNECT_S) if require_cloud else config

    def _warm_up(self, candidates: list[str | None]) -> Mapping[str, Any]:
        assert self._agent is not None
        for candidate in candidates:
            self._agent.infer(self._items[0], candidate=candidate)
        stats = self._agent.stats()
        return {"link": _plain(stats.link), "connects": stats.connects}

    def _settle(self, frames: int, after: int) -> Mapping[str, Any]:
        """Frames of the agent's own choice, or as it is pinned, on a new stream that is up."""
        agent, item = self._agent, self._items[0]
        assert agent is not None

        def stream() -> tuple[int, str]:
            stats = agent.stats()
            return stats.connects, stats.link_state

        await_new_stream(stream, lambda: agent.infer(item, candidate=self._local), after)
        for _ in range(frames):
            agent.infer(item)
        return {}

    def _start(self, *, watch: bool = False, **shot: Any) -> Mapping[str, Any]:
        assert self._agent is not None
        self._before = self._agent.stats()
        self._board.spent_s = self._board.unplanned_s = 0.0
        self._watch = _Watch(self._agent) if watch else None
        self._camera = Camera(self._submit, msgspec.convert(shot, Shot))
        return {"begin": self._camera.begin}

    def _submit(self, index: int, way: str | None) -> "Future[Answer]":
        assert self._agent is not None
        item = self._items[index % len(self._items)]
        return self._agent.submit(item, self._options.deadline_ms or None, way)

    def _finish(self) -> Mapping[str, Any]:
        assert self._agent is not None
        assert self._camera is not None
        frames = self._camera.finish()
        states = [] if self._watch is None else self._watch.stop()
        before, after = self._before, self._agent.stats()
        return {
            "frames": [msgspec.to_builtins(frame) for frame in frames],
            "states": states,
            "accepted": after.accepted - before.accepted,
            "lost": max(self._camera.lost, after.pending),
            "doubled": self._camera.doubled(),
            "switches": [asdict(s) for s in after.switches[len(before.switches) :] if s.before],
            "device_s": self._board.spent_s,
            "unplanned_s": self._board.unplanned_s,
        }

    def _cold_start(self, cloud: str) -> Mapping[str, Any]:
        begin = time.monotonic()
        config = self._config(cloud, None, require_cloud=False)
        with Agent.open(config, pace=self._board) as agent:
            opened = time.monotonic()
            answer = agent.infer(self._items[0])
            ended = time.monotonic()
        return {
            "open_ms": (opened - begin) * 1e3,
            "answer_ms": (ended - begin) * 1e3,
            "place": answer.place,
        }

    def _close_agent(self) -> Mapping[str, Any]:
        assert self._agent is not None
        self._agent.close()
        self._agent = None
        return {}


def await_new_stream(
    stream: Callable[[], tuple[int, str]], pass_time: Callable[[], object], after: int
) -> None:
    """Until the link is up on a stream later than the `after`-th; LinkError after `CONNECT_S`.

    `stream()` tells how many there were, and the link's state. A link that was broken is called up
    until the agent has noticed; a greater count of streams says that it has.
    """
    give_up_at = time.monotonic() + CONNECT_S
    while not _is_new(stream(), after):
        if time.monotonic() >= give_up_at:
            raise LinkError(f"the link was not up again within {CONNECT_S:g} s after it was broken")
        pass_time()


def _is_new(stream: tuple[int, str], after: int) -> bool:
    connects, state = stream
    return connects > after and state == "up"


def _plain(estimate: Any) -> Any:
    return None if estimate is None else asdict(estimate)


class _Watch:
    """Notes each change of the link's state, by an agent's own figures."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._stopping = threading.Event()
        self._states: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> list[tuple[float, str]]:
        """Every state with the time since when it was seen."""
        self._stopping.set()
        self._thread.join()
        return self._states

    def _run(self) -> None:
        while not self._stopping.wait(_WATCH_S):
            state = self._agent.stats().link_state
            if not self._states or self._states[-1][1] != state:
                self._states.append((time.monotonic(), state))


if __name__ == "__main__":
    sys.exit(main())
