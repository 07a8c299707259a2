"""One ONNX model behind KServe's SDK; runs in the peer's environment, not in ours."""

# Its packages are not there where types are checked.
# mypy: ignore-errors
import argparse
import asyncio

import onnxruntime as ort
from kserve import InferOutput, InferResponse, Model, ModelServer
from kserve.utils.utils import from_np_dtype


class Whole(Model):
    """The model in one session; requests run on asyncio's own threads."""

    def __init__(self, name, path, threads):
        super().__init__(name)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._names = [node.name for node in self._session.get_outputs()]
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        """All outputs for a request."""
        feeds = {each.name: each.as_numpy() for each in payload.inputs}
        values = await asyncio.to_thread(self._session.run, None, feeds)
        outputs = []
        for name, value in zip(self._names, values, strict=True):
            output = InferOutput(name, list(value.shape), from_np_dtype(value.dtype))
            output.set_data_from_numpy(value, binary_data=True)
            outputs.append(output)
        return InferResponse(payload.id, self.name, outputs)


def main():
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    for flag in ("--model", "--name"):
        parser.add_argument(flag, required=True)
    for flag in ("--port", "--http-port", "--threads"):
        parser.add_argument(flag, type=int, required=True)
    options = parser.parse_args()
    server = ModelServer(http_port=options.http_port, grpc_port=options.port, workers=1)
    server.start([Whole(options.name, options.model, options.threads)])


if __name__ == "__main__":
    main()
