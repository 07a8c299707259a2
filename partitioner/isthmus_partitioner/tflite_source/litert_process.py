"""The script that `reference.py` runs: MODEL FEEDS ANSWERS, the last two .npz files.

It is run by its path and imports nothing of Isthmus, so that it starts at once.
"""

import contextlib
import resource
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

__all__ = ["main"]

_MEMORY_BYTES = 8 << 30


def main(model: str, feeds: str, answers: str) -> None:
    """Run all items of FEEDS, which lie along each array's first axis."""
    # Where the kernel knows no such limit, the caller's timeout is what remains.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    interpreter = Interpreter(model, num_threads=2)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    with np.load(feeds, allow_pickle=False) as arrays:
        given = [arrays[f"arr_{number}"] for number in range(len(arrays.files))]
    rows = []
    for run in zip(*given, strict=True):
        for detail, value in zip(inputs, run, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        rows.append([interpreter.get_tensor(detail["index"]) for detail in outputs])
    np.savez(answers, *map(np.stack, zip(*rows, strict=True)), allow_pickle=False)


if __name__ == "__main__":
    main(*sys.argv[1:4])
