"""The demo's device: a process of its own that measures what it is told to, over its own link.

It takes commands as lines of JSON on stdin and answers each with one line on stdout:

    {"do": "factor"}                                 how many times slower the board is
    {"do": "answers"}                                the demo pictures, as the policy sends them
    {"do": "measure", "candidate": ID}               latency, frames/s and bytes of one candidate
    {"do": "measure-fp32"}                           the unsplit fp32 model on this device
    {"do": "agreement", "candidates": [ID, …]}       share of answers equal to the fp32 model's
    {"do": "choose"}                                 the policy's choice by what it has learned
    {"do": "live"} … {"do": "stop"}                  frames without pause; one line a frame
"""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import asdict
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import Bundle, IsthmusError, LinkError, load_picture, open_bundle
from isthmus_bench.slow_board import SlowBoard
from isthmus_bench.unsplit import Unsplit
from isthmus_edge import Agent, AgentConfig, Answer, Chains, FullPace, Pace
from isthmus_models import demo_pictures, evaluation_pictures

ENOUGH_S = 1.0  # single frames are measured for this long …
ENOUGH_FRAMES = 5  # … or until there are this many
PIPELINED_FRAMES = (4, 8)
SLOW_FRAME_S = 0.8  # where a frame takes longer, two frames must do …
VERY_SLOW_FRAME_S = 3.0  # … and here a single one
CALIBRATION_FRAMES = 8
CALIBRATION_PAUSE_S = 0.14  # as between the frames of a slow board: caches go cold
CONNECT_S = 20.0  # on a machine that is busy
PATIENCE_MS = 120_000.0  # a measured frame waits for the cloud, however slow the link
SILENCE_S = 20.0
ANSWERS_TOP_K = 5

__all__ = ["main"]

UInt8Array = NDArray[np.uint8]


def main(arguments: list[str] | None = None) -> int:
    """Obey until stdin closes."""
    parser = argparse.ArgumentParser(prog="python -m isthmus_bench.edge_process")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--cloud", required=True)
    parser.add_argument("--model", type=Path, required=True, help="the unsplit fp32 model")
    board = parser.add_mutually_exclusive_group(required=True)
    board.add_argument("--factor", type=float, help="how many times slower the board is")
    board.add_argument("--network-ms", type=float, help="what the int8 network takes on the board")
    parser.add_argument("--pictures", type=int, required=True, help="evaluation pictures")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the demo says when to end, by closing stdin
    device = _Device(parser.parse_args(arguments))
    try:
        for line in sys.stdin:
            _say(device.obey(json.loads(line)))
    except IsthmusError as error:
        _say({"event": "error", "message": str(error)})
        return 1
    finally:
        device.close()
    return 0


_speaking = threading.Lock()


def _say(fields: dict[str, Any]) -> None:
    with _speaking:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()


class _Device:
    """The board: one agent for all measurements, so that the estimator learns from all frames."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        bundle = open_bundle(options.bundle, "device")
        self._size = bundle.manifest.inputs[0].shape[0]
        self._pictures = evaluation_pictures(options.pictures, self._size)
        self._factor = options.factor or self._calibrated(bundle)
        self._board = SlowBoard(self._factor)
        self._unsplit = Unsplit(options.model)
        self._live: _LiveRun | None = None
        self._classes: NDArray[np.int64] | None = None
        self._verbs: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "factor": lambda _: {"factor": self._factor},
            "answers": self._answers,
            "measure": self._measure,
            "measure-fp32": self._measure_fp32,
            "agreement": self._agreement,
            "choose": self._choose,
            "live": self._start_live,
            "stop": self._stop_live,
        }

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what `command["do"]` says."""
        return self._verbs[command["do"]](command)

    def close(self) -> None:
        """Release everything."""
        if self._live is not None:
            self._live.stop()
        if "_agent" in vars(self):
            self._agent.close()

    @cached_property
    def _agent(self) -> Agent:
        """Opened with the first measurement, when the link has its shape."""
        return self._open(self._board, patience_ms=PATIENCE_MS, silence_s=SILENCE_S)

    def _calibrated(self, bundle: Bundle) -> float:
        """The factor that lets the whole chain of `local` take `--network-ms`."""
        manifest, board = bundle.manifest, SlowBoard(1.0)
        chain = Chains(bundle, threads=1).of(manifest.cut_of(manifest.local))
        name = manifest.inputs[0].name
        for picture in islice(cycle(self._pictures), CALIBRATION_FRAMES):
            time.sleep(CALIBRATION_PAUSE_S)
            _, takes_ms = board.run("whole", lambda p=picture: chain.finish({name: p[None]}, 0))  # type: ignore[misc]
        return float(self._options.network_ms / takes_ms)

    def _open(self, pace: Pace, **settings: Any) -> Agent:
        config = AgentConfig(
            bundle=self._options.bundle,
            cloud=self._options.cloud,
            require_cloud=True,
            connect_timeout_s=CONNECT_S,
            answer_top_k=ANSWERS_TOP_K,
            heed_vitals=False,  # of this machine, which is not the board
            video="off",  # the same few pictures come again and again: no camera
            **settings,
        )
        return Agent.open(config, pace=pace)

    def _answers(self, _: dict[str, Any]) -> dict[str, Any]:
        rows = []
        for picture in demo_pictures():
            answer = self._agent.infer(load_picture(picture.path, self._size))
            ((label, probability),) = answer.top(1)
            rows.append(
                {
                    "picture": picture.name,
                    "label": label,
                    "probability": probability,
                    "right": label in picture.labels,
                    "candidate": answer.candidate,
                    "place": answer.place,
                    "latency_ms": answer.latency_ms,
                }
            )
        return {"answers": rows}

    def _measure(self, command: dict[str, Any]) -> dict[str, Any]:
        candidate = command["candidate"]
        slow = self._slow_pair(candidate)
        if slow is not None:
            return slow
        latencies_ms, payloads = self._one_by_one(candidate)
        least, most = PIPELINED_FRAMES
        frames = int(ENOUGH_S * 2e3 / median(latencies_ms))
        fps = self._pipelined_fps(candidate, min(max(frames, least), most))
        return _figures(median(latencies_ms), fps, int(median(payloads)))

    def _slow_pair(self, candidate: str) -> dict[str, Any] | None:
        """Two frames, if the first one takes long; the second follows it without a gap.

        Where even one takes very long, the link is busy with it all the time, and frames/s are
        those of sending one after the other.
        """
        begin = time.perf_counter()
        first = self._agent.submit(self._pictures[0], candidate=candidate)
        wait([first], SLOW_FRAME_S)
        if first.done():
            self._answered(first)
            return None
        if self._transfer_s(candidate) > VERY_SLOW_FRAME_S:
            alone = self._answered(first)
            return _figures(alone.latency_ms, 1e3 / alone.latency_ms, alone.payload_bytes)
        second = self._agent.submit(self._pictures[1], candidate=candidate)
        answer = self._answered(first)
        first_took_s = time.perf_counter() - begin
        self._answered(second)
        gap_s = time.perf_counter() - begin - first_took_s
        return _figures(answer.latency_ms, 1 / gap_s, answer.payload_bytes)

    def _transfer_s(self, candidate: str) -> float:
        """How long the link should need for one frame, as far as it is known."""
        link = self._agent.stats().link
        payload_bytes = self._agent.manifest.candidate(candidate).figures.payload_bytes
        return 0.0 if link is None else link.transfer_ms(payload_bytes) / 1e3

    def _one_by_one(self, candidate: str) -> tuple[list[float], list[int]]:
        """Latencies (ms) and bytes of single frames, each sent when the last was answered."""
        latencies_ms: list[float] = []
        payloads: list[int] = []
        begin = time.perf_counter()
        step = max(1, len(self._pictures) // ENOUGH_FRAMES)
        for picture in self._pictures[::step][:ENOUGH_FRAMES]:
            answer = self._answered(self._agent.submit(picture, candidate=candidate))
            latencies_ms.append(answer.latency_ms)
            payloads.append(answer.payload_bytes)
            if time.perf_counter() - begin > ENOUGH_S and len(latencies_ms) >= 2:
                break
        return latencies_ms, payloads

    def _pipelined_fps(self, candidate: str, frames: int) -> float:
        """Frames a second between the first and the last answer of a run of frames."""
        ended_at: list[float] = []

        def note(_: "Future[Answer]") -> None:
            ended_at.append(time.perf_counter())

        futures = []
        for picture in islice(cycle(self._pictures), frames):
            future = self._agent.submit(picture, candidate=candidate)
            future.add_done_callback(note)
            futures.append(future)
        for future in futures:
            self._answered(future)
        return (len(ended_at) - 1) / (max(ended_at) - min(ended_at))

    def _answered(self, future: "Future[Answer]") -> Answer:
        """The answer, which must have come the way that is being measured."""
        answer = future.result()
        local = answer.candidate == self._agent.manifest.local.id
        if local != (answer.place == "device"):
            raise LinkError(f"a measured frame of {answer.candidate} came from the {answer.place}")
        return answer

    def _measure_fp32(self, _: dict[str, Any]) -> dict[str, Any]:
        times_ms = [
            self._board.run("fp32", lambda p=p: self._unsplit.run(p[None]))[1]  # type: ignore[misc]
            for p in self._pictures[:ENOUGH_FRAMES]
        ]
        took_ms = median(times_ms)
        return _figures(took_ms, 1e3 / took_ms, 0)

    def _agreement(self, command: dict[str, Any]) -> dict[str, Any]:
        """All evaluation pictures through head, wire and tail, not slowed: top-1 against fp32."""
        with self._open(FullPace(), patience_ms=PATIENCE_MS, silence_s=SILENCE_S) as agent:
            shares = {}
            for candidate in command["candidates"]:
                futures = [agent.submit(p, candidate=candidate) for p in self._pictures]
                got = [_class_of(future.result()) for future in futures]
                shares[candidate] = float(np.mean(np.array(got) == self._reference()))
        return {"agreement": shares}

    def _reference(self) -> NDArray[np.int64]:
        if self._classes is None:
            self._classes = np.array([self._unsplit.run(p[None]).argmax() for p in self._pictures])
        return self._classes

    def _choose(self, _: dict[str, Any]) -> dict[str, Any]:
        latency, frames = self._agent.decide("latency"), self._agent.decide("throughput")
        link = self._agent.stats().link
        return {
            "latency": latency.candidate.id,
            "throughput": frames.candidate.id,
            "reason": latency.reason,
            "reason_throughput": frames.reason,
            "link": None if link is None else asdict(link),
        }

    def _start_live(self, _: dict[str, Any]) -> dict[str, Any]:
        agent = self._open(self._board, objective="throughput")
        self._live = _LiveRun(agent, self._pictures)
        return {"live": "running"}

    def _stop_live(self, _: dict[str, Any]) -> dict[str, Any]:
        assert self._live is not None
        stats, self._live = self._live.stop(), None
        return {"live": stats}


class _LiveRun:
    """A camera: frames without pause, as many as the agent takes, until stopped."""

    def __init__(self, agent: Agent, pictures: UInt8Array) -> None:
        self._agent = agent
        self._pictures = pictures
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        """End the camera, wait for every answer; the agent's figures."""
        self._stopping.set()
        self._thread.join()
        stats = asdict(self._agent.stats())
        self._agent.close()
        return stats

    def _run(self) -> None:
        open_frames: set[Future[Answer]] = set()
        for picture in cycle(self._pictures):
            if self._stopping.is_set():
                break
            future = self._agent.submit(picture)
            open_frames.add(future)
            future.add_done_callback(_report)
            open_frames = {f for f in open_frames if not f.done()}
        wait(open_frames)


def _report(future: "Future[Answer]") -> None:
    error = future.exception()
    if error is not None:
        _say({"event": "error", "message": str(error)})
        return
    answer = future.result()
    _say(
        {
            "event": "frame",
            "sequence": answer.sequence,
            "at": time.monotonic(),
            "latency_ms": answer.latency_ms,
            "candidate": answer.candidate,
            "place": answer.place,
        }
    )


def _figures(latency_ms: float, throughput_fps: float, payload_bytes: int) -> dict[str, Any]:
    return {
        "latency_ms": latency_ms,
        "throughput_fps": throughput_fps,
        "payload_bytes": payload_bytes,
    }


def _class_of(answer: Answer) -> int:
    return int(next(iter(answer.outputs.values())).argmax())


if __name__ == "__main__":
    sys.exit(main())
