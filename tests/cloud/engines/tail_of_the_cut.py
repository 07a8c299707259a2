"""The parts of the bundle's tails, and frames for the one behind its cut."""

import numpy as np

from isthmus import Bundle
from isthmus_cloud.engines.seam import Engine, Value

ENTRY, LATE, EARLY = "cloud/entry-cut.onnx", "cloud/tail-1.onnx", "cloud/tail-0.onnx"


def symbols(count: int, seed: int = 3) -> dict[str, Value]:
    """Feeds of the entry for `count` frames."""
    values = np.random.default_rng(seed).integers(0, 16, (count, 8, 16, 16), dtype=np.uint8)
    steps = np.linspace(0.1, 0.3, count, dtype=np.float32)
    return {
        "boundary": values,
        "boundary/step": steps,
        "boundary/zero_point": np.ones(count, np.uint8),
    }


def answers(engine: Engine, bundle: Bundle, feeds: dict[str, Value]) -> np.ndarray:
    """Of the tail behind the cut."""
    real = engine.load(bundle.file(ENTRY)).run(feeds)[0]
    return engine.to_host(engine.load(bundle.file(LATE)).run({"relu_0": real})[0])
