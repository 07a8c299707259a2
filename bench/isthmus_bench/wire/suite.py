"""The five networks of the wire's bench: where they come from, what they see, where they are cut.

Cuts are named by where they lie, in order of depth. The wide ones are there because a codec has to
live with them, not because anybody would choose them.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray

from isthmus_bench.wire.scores import (
    Score,
    score_boxes,
    score_classes,
    score_lines,
    score_sentences,
)
from isthmus_models import calibration_pictures, evaluation_pictures, get_model
from isthmus_models.drawn import Part, glyph_pictures, line_pictures
from isthmus_models.minilm import TOKENS, minilm, minilm_tokens
from isthmus_models.prose import calibration_passages, evaluation_passages
from isthmus_models.published import (
    DETECTOR_SIZE,
    RESNET_SIZE,
    glyph_detector,
    line_reader,
    resnet50_thin,
)
from isthmus_partitioner import load_model

__all__ = ["SUITE", "Recipe"]

AnyArray = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to get a subject.

    `make` gives the network with one input and known shapes, `inputs` so many items of it for one
    of the two parts, which share no source. `cuts` are the tensors that cross, by the cut's name.
    `score` compares the first output with that of the unsplit network (reference first).
    """

    name: str
    make: Callable[[], onnx.ModelProto]
    inputs: Callable[[Part, int], AnyArray]
    cuts: Mapping[str, tuple[str, ...]]
    score: Callable[[AnyArray, AnyArray], Score]


def _cleaned(make: Callable[[], onnx.ModelProto]) -> onnx.ModelProto:
    """As the partitioner sees it: constants folded, batch normalisations merged, shapes known."""
    with tempfile.TemporaryDirectory(prefix="isthmus-") as folder:
        path = Path(folder, "model.onnx")
        onnx.save(make(), path)
        return load_model(path).model


def _photographs(size: int, part: Part, count: int) -> AnyArray:
    crops = calibration_pictures if part == "calibration" else evaluation_pictures
    return crops(count, size)


def _glyphs(part: Part, count: int) -> AnyArray:
    return glyph_pictures(part, count).pictures


def _lines(part: Part, count: int) -> AnyArray:
    return line_pictures(part, count).pictures


def _tokens(part: Part, count: int) -> AnyArray:
    passages = calibration_passages if part == "calibration" else evaluation_passages
    return minilm_tokens(passages(count, TOKENS - 2))  # a word has one piece or more


_LITE0 = Recipe(
    name="efficientnet-lite0",
    make=partial(_cleaned, get_model("efficientnet-lite0").make),
    inputs=partial(_photographs, get_model("efficientnet-lite0").picture_size),
    cuts={
        "b02": ("b02.add",),
        "b04": ("b04.add",),
        "b05-wide": ("b05.depthwise.relu6",),
        "b07": ("b07.add",),
        "b10": ("b10.add",),
        "b14": ("b14.add",),
    },
    score=score_classes,
)
_RESNET = Recipe(
    name="resnet50-thin",
    make=partial(_cleaned, resnet50_thin),
    inputs=partial(_photographs, RESNET_SIZE),
    cuts={
        "stem": ("max_pooling2d/MaxPool:0",),
        "block4": ("Relu_12:0",),
        "block8": ("Relu_24:0",),
        "block13": ("Relu_39:0",),
        "block16": ("Relu_48:0",),
    },
    score=score_classes,
)
# c3, c4, c5: the backbone's maps of stride 8, 16, 32; p5, p4: the neck on its way down; n3, n4,
# n5: what the neck gives to the three branches of the detector.
_DETECTOR = Recipe(
    name="yolox-glyphs",
    make=partial(_cleaned, glyph_detector),
    inputs=_glyphs,
    cuts={
        "stem": ("533",),
        "c3": ("577",),
        "c3+c4": ("577", "621"),
        "c3+c4+p5": ("577", "621", "662"),
        "c3+p4+p5": ("577", "693", "662"),
        "n3+n4+n5": ("720", "746", "772"),
    },
    score=partial(score_boxes, picture_size=DETECTOR_SIZE),
)
_READER = Recipe(
    name="ppocr-rec",
    make=partial(_cleaned, line_reader),
    inputs=_lines,
    cuts={
        "stage3": ("p2o.pd_op.add.29.0",),
        "stage4": ("p2o.pd_op.add.35.0",),
        "stage4-end": ("p2o.pd_op.add.59.0",),
        "stage5": ("p2o.pd_op.add.75.0",),
        "pool": ("p2o.pd_op.pool2d.2.0",),
        "neck": ("p2o.pd_op.swish.5.0",),
    },
    score=score_lines,
)
_ENCODER = Recipe(
    name="minilm-l6",
    make=minilm,
    inputs=_tokens,
    cuts={f"layer{index}": (f"layer{index}",) for index in (1, 2, 3, 5)},
    score=score_sentences,
)

SUITE: Mapping[str, Recipe] = MappingProxyType(
    {recipe.name: recipe for recipe in (_LITE0, _RESNET, _DETECTOR, _READER, _ENCODER)}
)
