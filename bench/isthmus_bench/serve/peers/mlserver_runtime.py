"""One ONNX model as a runtime of MLServer; runs in the peer's environment, not in ours."""

# Its packages are not there where types are checked.
# mypy: ignore-errors
import asyncio

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Whole(MLModel):
    """The model in one session; requests run on asyncio's own threads."""

    async def load(self):
        """Open the session."""
        extra = self.settings.parameters.extra
        options = ort.SessionOptions()
        options.intra_op_num_threads = extra["threads"]
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        self._names = [node.name for node in self._session.get_outputs()]
        return True

    async def predict(self, payload):
        """All outputs for a request."""
        feeds = {each.name: NumpyCodec.decode_input(each) for each in payload.inputs}
        values = await asyncio.to_thread(self._session.run, None, feeds)
        outputs = [
            NumpyCodec.encode_output(name, value)
            for name, value in zip(self._names, values, strict=True)
        ]
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=outputs)
