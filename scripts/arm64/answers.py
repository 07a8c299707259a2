"""What the edge half answers on this machine, written to a file: FOLDER OUT.npz [RUNTIME ...].

Runs on both sides of `scripts/test-arm64`, so it may import nothing that a device does not have.
FOLDER holds `bundle/` with `pictures.npz`, and `heads/NAME/` with a `segment.json`, its files and
`feeds.npz`. Keys in OUT: ``agent/OUTPUT/I`` and ``RUNTIME/NAME/OUTPUT/I`` for input I.
Fails if one of the RUNTIMEs named is not there, or cannot run one of the heads.
"""

import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from isthmus import Segment
from isthmus_edge import Agent, AgentConfig
from isthmus_edge.runtimes import GraphFiles, found_runtimes


def main(folder: Path, out: Path, wanted: list[str]) -> None:
    """Answer everything with everything that is installed here."""
    answers = dict(agent_answers(folder))
    for found in found_runtimes():
        if found.runtime is None:
            if found.name in wanted:
                sys.exit(f"no {found.name} on {platform.machine()}: {found.problem}")
            continue
        print(f"   {found.runtime.describe()} on {platform.machine()}", flush=True)
        for head in sorted((folder / "heads").iterdir()):
            answers |= dict(head_answers(found.runtime, head, found.name in wanted))
    np.savez(out, **answers)


def agent_answers(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Of an agent without a cloud; nothing where ONNX Runtime is not installed."""
    if not any(found.name == "onnxruntime" and found.runtime for found in found_runtimes()):
        return
    with np.load(folder / "pictures.npz") as pictures:
        frames = [pictures[name] for name in pictures.files]
    with Agent.open(AgentConfig(bundle=folder / "bundle")) as agent:
        for index, frame in enumerate(frames):
            for name, value in agent.infer(frame).outputs.items():
                yield f"agent/{name}/{index}", value


def head_answers(runtime, head: Path, is_wanted: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Of one graph on one runtime, through the seam that the agent uses."""
    segment = msgspec.json.decode((head / "segment.json").read_bytes(), type=Segment)
    files = GraphFiles.of(head, segment)
    refusal = runtime.refusal(files)
    if refusal is not None:
        if is_wanted:
            sys.exit(f"{runtime.name} cannot run {head.name}: {refusal}")
        return
    graph = runtime.load(files, threads=1)
    wanted = [spec.name for spec in segment.outputs]
    with np.load(head / "feeds.npz") as feeds:
        for index, name in enumerate(feeds.files):
            for output, value in zip(
                wanted, graph.run({segment.inputs[0].name: feeds[name]}, wanted), strict=True
            ):
                yield f"{runtime.name}/{head.name}/{output}/{index}", np.array(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
