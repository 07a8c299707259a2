"""Which network is meant: one of the catalogue, or a file that perhaps reads float images.

Networks are exported with the preprocessing left out. It is put back into the graph, so that the
input is the picture itself and JPEG can be a candidate; where nobody says what it was, ImageNet's
is assumed and a note says so.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from isthmus import ConfigError, ModelError, TensorSpec
from isthmus_models import MODELS, Model, get_model, with_picture_input
from isthmus_partitioner import Network, load_model
from isthmus_partitioner.folders import whole_file
from isthmus_partitioner.graph.files import INLINE_LIMIT_BYTES, weight_bytes
from isthmus_partitioner.graph.inputs import open_inputs
from isthmus_partitioner.graph.network import network_of
from isthmus_partitioner.graph.reading import ModelFile, read_file
from isthmus_partitioner.graph.trial import try_out
from isthmus_partitioner.inputs.pictures import PictureInput, Scale, picture_input
from isthmus_partitioner.store import writing

__all__ = ["ChosenNetwork", "add_network_arguments", "chosen_network"]

IMAGENET = Scale((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@dataclass(frozen=True, slots=True)
class ChosenNetwork:
    """The network of the command line.

    `known` is its entry in the catalogue, if it has one. `scale` is how pictures become the float
    images that it reads, where that could not be put into the graph; `is_bgr` their channels.
    """

    network: Network
    name: str
    labels: tuple[str, ...] = ()
    known: Model | None = None
    scale: Scale | None = None
    is_bgr: bool = False
    notes: tuple[str, ...] = ()


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model and the flags that say how it is to be read."""
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        help=f"an ONNX or TFLite file, or a model of the catalogue: {', '.join(MODELS)}",
    )
    add(
        "--size",
        type=_size,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=N",
        help="fix a dimension that the model leaves open, by its name or as INPUT:AXIS",
    )
    add("--labels", type=Path, metavar="FILE", help="class names, one a line")
    _add_preprocessing(
        parser.add_argument_group(
            "preprocessing, for a model that takes a float image instead of a uint8 picture "
            "(default: that of ImageNet)"
        )
    )


def _add_preprocessing(group: argparse._ArgumentGroup) -> None:
    scale = "1 or 3 values, 0-255 scale"
    group.add_argument("--mean", type=float, nargs="+", metavar="M", help=scale)
    group.add_argument("--std", type=float, nargs="+", metavar="S", help=scale)
    group.add_argument("--channels", choices=["rgb", "bgr"], default="rgb")
    group.add_argument("--layout", choices=["nchw", "nhwc"], help="default: as the shape says")


def chosen_network(options: argparse.Namespace, work: Path) -> ChosenNetwork:
    """Read it; what is made on the way lies in `work`.

    Raises ModelError for a model that cannot be read or run, ConfigError for flags that do not
    fit it.
    """
    labels = () if options.labels is None else _read_labels(options.labels)
    sizes = dict(options.size)
    if options.model in MODELS:
        known = get_model(options.model)
        path = known.build(_made(work) / f"{known.name}.onnx")
        network = load_model(path, {**known.sizes, **sizes})
        return ChosenNetwork(network, known.name, labels or known.labels, known)
    path = Path(options.model)
    if not path.exists():
        raise ModelError(
            f"{path}: no such file; name an .onnx or .tflite file, or one of the catalogue: "
            f"{', '.join(MODELS)}"
        )
    return replace(_from_file(options, read_file(path), sizes, work), labels=labels)


def _from_file(
    options: argparse.Namespace, file: ModelFile, sizes: Mapping[str, int], work: Path
) -> ChosenNetwork:
    given, name = _given_scale(options), file.path.stem
    if given is None and options.inputs:
        return ChosenNetwork(network_of(file, sizes), name)  # the arrays are as it wants them
    image, guesses = _float_image(file, sizes)
    if image is None:
        if given is not None:
            _refuse_preprocessing(file, given, options)
        return ChosenNetwork(network_of(file, sizes), name)
    scale, notes = (given, ()) if given else (IMAGENET, (_assumption(image),))
    if image.channels == 1:
        scale = scale.grey()
    is_movable = image.channels == 3 and image.spec.batch_axis == 0
    if not is_movable or weight_bytes(file.model) > INLINE_LIMIT_BYTES:
        is_bgr = options.channels == "bgr"
        network = network_of(file, sizes)
        return ChosenNetwork(network, name, scale=scale, is_bgr=is_bgr, notes=notes)
    prepared = work / f"{name}.picture.onnx"
    with writing(work), whole_file(prepared) as target:
        target.write(_with_preprocessing(file.with_weights(), image, scale, options))
    network = load_model(prepared)
    # What is odd about the file itself was seen again in the prepared one.
    guesses = tuple(note for note in guesses if note not in network.notes)
    return ChosenNetwork(network, name, notes=(*file.notes, *notes, *guesses))


def _float_image(
    file: ModelFile, sizes: Mapping[str, int]
) -> tuple[PictureInput | None, tuple[str, ...]]:
    """How the only input takes an image, if it does, and notes on what was guessed of its size."""
    opened = open_inputs(file.model.graph, sizes, file.path)
    notes: tuple[str, ...] = ()
    if len(opened) == 1 and opened[0].open_axes:
        trial = try_out(file, sizes)
        opened, notes = trial.free, trial.notes
    image = picture_input(opened[0].spec) if len(opened) == 1 else None
    return (image, notes) if image is not None and image.is_float else (None, ())


def _assumption(image: PictureInput) -> str:
    scale, what = IMAGENET, "an RGB picture"
    if image.channels == 1:
        scale, what = IMAGENET.grey(), "a grey picture"
    mean, std = (" ".join(f"{value:g}" for value in each) for each in (scale.mean, scale.std))
    return (
        f"assumed that input {image.spec.name!r} is {what} with ImageNet's preprocessing (mean "
        f"{mean}, std {std} on the 0-255 scale), because none was given; ranges and agreement "
        "depend on it: --mean 0 --std 1 for 0-255, --mean 0 --std 255 for 0-1, --inputs for "
        "anything else"
    )


def _with_preprocessing(
    model: onnx.ModelProto, image: PictureInput, scale: Scale, options: argparse.Namespace
) -> bytes:
    _fix_size(model.graph, image.spec)
    prepared = with_picture_input(
        model,
        mean=scale.mean,
        std=scale.std,
        channels=options.channels,
        layout=options.layout or ("nchw" if image.channels_first else "nhwc"),
    )
    return prepared.SerializeToString(deterministic=True)


def _fix_size(graph: onnx.GraphProto, spec: TensorSpec) -> None:
    """State height and width where they were open."""
    info = next(each for each in graph.input if each.name == spec.name)
    for dim, size in zip(info.type.tensor_type.shape.dim[1:], spec.shape, strict=True):
        dim.dim_value = size


def _refuse_preprocessing(file: ModelFile, scale: Scale, options: argparse.Namespace) -> None:
    """Let the preprocessing itself say why it does not fit."""
    with_picture_input(
        file.with_weights(),
        mean=scale.mean,
        std=scale.std,
        channels=options.channels,
        layout=options.layout or "nchw",
    )
    raise ModelError(
        f"{file.path}: its input does not look like an image that --mean and --std could scale; "
        "leave them out"
    )


def _given_scale(options: argparse.Namespace) -> Scale | None:
    if options.mean is None and options.std is None:
        return None
    mean, std = _three("--mean", options.mean), _three("--std", options.std)
    if min(std) <= 0:
        raise ConfigError(f"--std is {' '.join(map(str, options.std))}; allowed: above 0")
    return Scale(mean, std)


def _three(flag: str, values: list[float] | None) -> tuple[float, ...]:
    if values is None or len(values) not in {1, 3}:
        raise ConfigError(
            f"{flag}: give one value for all channels or three, with --mean and --std"
        )
    return tuple(values) * (3 // len(values))


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as labels ({error})") from error


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be made ({error.strerror}); name another --work"
        ) from error
    return folder


def _size(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name or not number.isascii() or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=N with a whole number")
    return name, int(number)
