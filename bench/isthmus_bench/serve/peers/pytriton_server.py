"""One ONNX model behind PyTriton, in batches; runs in the peer's environment, not in ours."""

# Its packages are not there where types are checked.
# mypy: ignore-errors
import argparse
import signal
import sys

import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64}
MAX_BATCH = 16


def main():
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    for flag in ("--model", "--name"):
        parser.add_argument(flag, required=True)
    for flag in ("--port", "--http-port", "--metrics-port", "--threads"):
        parser.add_argument(flag, type=int, required=True)
    given = parser.parse_args()
    options = ort.SessionOptions()
    options.intra_op_num_threads = given.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(given.model, options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_outputs()]

    @batch
    def infer(**feeds):
        return dict(zip(names, session.run(names, feeds), strict=True))

    config = TritonConfig(
        http_port=given.http_port, grpc_port=given.port, metrics_port=given.metrics_port
    )
    # So that the context ends in order: it leaves shared memory behind otherwise.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Triton(config=config) as triton:
        triton.bind(
            model_name=given.name,
            infer_func=infer,
            inputs=[_tensor(node) for node in session.get_inputs()],
            outputs=[_tensor(node) for node in session.get_outputs()],
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher()),
        )
        triton.serve()


def _tensor(node):
    """Without its batch dimension."""
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape[1:])
    return Tensor(name=node.name, dtype=TYPES[node.type], shape=shape)


if __name__ == "__main__":
    main()
