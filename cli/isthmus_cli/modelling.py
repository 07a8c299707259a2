"""What `profile`, `plan` and `build` share: model, pictures, settings, workbench."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from isthmus import ConfigError, ModelError, PictureFormat, load_picture, picture_files
from isthmus_cli.console import Steps
from isthmus_models import (
    MODELS,
    calibration_pictures,
    evaluation_pictures,
    get_model,
    with_picture_input,
)
from isthmus_partitioner import ModelCard, PictureSets, PlanConfig, Workbench, load_model

CALIBRATION = 24
EVALUATION = 84
LEAST_PICTURES = 8

__all__ = ["add_model_arguments", "plan_config", "workbench_of"]


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags that the three verbs share."""
    known = ", ".join(MODELS)
    add = parser.add_argument
    add("model", metavar="MODEL", help=f"an ONNX file, or a model of the catalogue: {known}")
    add(
        "--work",
        type=Path,
        metavar="DIR",
        help="where results of the steps are kept (default: MODEL.work)",
    )
    add("--json", action="store_true", help="print JSON instead of a table")
    add("--quiet", action="store_true", help="no progress lines")
    add(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="your own pictures: every second one calibrates, the others evaluate "
        "(default: photos that come with pip packages)",
    )
    add("--labels", type=Path, metavar="FILE", help="class names, one a line")
    _add_preprocessing(
        parser.add_argument_group(
            "preprocessing, for a model that takes a float image instead of a uint8 picture"
        )
    )
    _add_tuning(parser.add_argument_group("plan"))
    _add_wire(parser.add_argument_group("wire"))


def _add_preprocessing(group: argparse._ArgumentGroup) -> None:
    scale = "1 or 3 values, 0-255 scale"
    group.add_argument("--mean", type=float, nargs="+", metavar="M", help=scale)
    group.add_argument("--std", type=float, nargs="+", metavar="S", help=scale)
    group.add_argument("--channels", choices=["rgb", "bgr"], default="rgb")
    group.add_argument("--layout", choices=["nchw", "nhwc"], default="nchw")


def _add_tuning(group: argparse._ArgumentGroup) -> None:
    defaults = PlanConfig()
    group.add_argument(
        "--agreement-floor",
        type=float,
        default=defaults.agreement_floor,
        metavar="SHARE",
        help="candidates below are never chosen (default %(default)s)",
    )
    group.add_argument(
        "--max-cuts",
        type=int,
        default=defaults.max_cuts,
        metavar="N",
        help="cuts to build and measure (default %(default)s)",
    )
    speed = group.add_mutually_exclusive_group()
    speed.add_argument(
        "--edge-factor",
        type=float,
        default=1.0,
        metavar="F",
        help="the device is F times slower than this machine",
    )
    speed.add_argument(
        "--edge-network-ms",
        type=float,
        metavar="MS",
        help="or: the int8 network takes this long on the device",
    )


def _add_wire(group: argparse._ArgumentGroup) -> None:
    defaults = PlanConfig()
    group.add_argument(
        "--steps",
        type=_share,
        nargs="+",
        default=defaults.steps,
        metavar="S",
        help="quantiser steps of the ladder, in standard deviations of a cut's tensor; a "
        f"fraction is fine (default {_listed(defaults.steps)})",
    )
    group.add_argument(
        "--no-bottleneck",
        dest="bottleneck",
        action="store_false",
        default=defaults.bottleneck,
        help="try no projection onto principal components at the cuts",
    )
    group.add_argument(
        "--formats",
        nargs="+",
        choices=get_args(PictureFormat),
        default=defaults.pictures,
        metavar="FORMAT",
        help="in which whole pictures may be sent, of "
        f"{_listed(get_args(PictureFormat))} (default {_listed(defaults.pictures)})",
    )
    group.add_argument(
        "--qualities",
        type=int,
        nargs="+",
        default=defaults.qualities,
        metavar="Q",
        help=f"of those formats, 1-100 (default {_listed(defaults.qualities)})",
    )
    group.add_argument(
        "--lossless-pictures",
        action="store_true",
        default=defaults.lossless_pictures,
        help="try whole pictures without loss, too",
    )


def _share(text: str) -> float:
    """A number or a fraction of two."""
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number and no fraction") from error


def _listed(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


def workbench_of(options: argparse.Namespace) -> Workbench:
    """The workbench for the model and the settings on the command line."""
    config = plan_config(options)
    work = options.work or Path(f"{Path(options.model).stem}.work")
    progress = Steps(quiet=options.quiet)
    model, labels = _model_of(options, work)
    network = load_model(model)
    height, width, _ = network.input.shape
    pictures = _pictures(options.pictures, height, width)
    progress(f"read {model} and {len(pictures.calibration) + len(pictures.evaluation)} pictures")
    return Workbench(
        network,
        pictures,
        config=config,
        work=work,
        card=ModelCard(Path(options.model).stem, labels),
        progress=progress,
    )


def plan_config(options: argparse.Namespace) -> PlanConfig:
    """The settings on the command line."""
    return PlanConfig(
        agreement_floor=options.agreement_floor,
        edge_factor=options.edge_factor,
        edge_network_ms=options.edge_network_ms,
        max_cuts=options.max_cuts,
        steps=tuple(options.steps),
        bottleneck=options.bottleneck,
        pictures=tuple(options.formats),
        qualities=tuple(options.qualities),
        lossless_pictures=options.lossless_pictures,
    )


def _model_of(options: argparse.Namespace, work: Path) -> tuple[Path, tuple[str, ...]]:
    labels = () if options.labels is None else _read_labels(options.labels)
    if options.model in MODELS:
        known = get_model(options.model)
        return known.build(_made(work) / f"{known.name}.onnx"), labels or known.labels
    path = Path(options.model)
    if not path.exists():
        raise ModelError(
            f"{path}: no such file; name an .onnx file or one of the catalogue: {', '.join(MODELS)}"
        )
    if options.mean is None and options.std is None:
        _refuse_float_image(path)
        return path, labels
    mean, std = _three("--mean", options.mean), _three("--std", options.std)
    model = with_picture_input(
        _read(path), mean=mean, std=std, channels=options.channels, layout=options.layout
    )
    prepared = _made(work) / f"{path.stem}.picture.onnx"
    prepared.write_bytes(model.SerializeToString(deterministic=True))
    return prepared, labels


def _refuse_float_image(path: Path) -> None:
    """Say how to go on before the partitioner says why it cannot."""
    inputs = _read(path).graph.input
    if len(inputs) == 1 and inputs[0].type.tensor_type.elem_type == TensorProto.FLOAT:
        raise ModelError(
            f"{path}: input {inputs[0].name!r} is a float image; give its preprocessing, so that "
            "the model takes a picture: --mean and --std on the 0-255 scale, for instance "
            "--mean 123.7 116.3 103.5 --std 58.4 57.1 57.4"
        )


def _read(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX file, or not all of it; export it again") from error
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror}); name an .onnx file"
        ) from error


def _three(flag: str, values: list[float] | None) -> tuple[float, ...]:
    if values is None or len(values) not in {1, 3}:
        raise ConfigError(
            f"{flag}: give one value for all channels or three, with --mean and --std"
        )
    return tuple(values) * (3 // len(values))


def _pictures(folder: Path | None, height: int, width: int) -> PictureSets:
    if folder is None:
        if height != width:
            raise ConfigError(
                f"the model takes pictures of {height}x{width}; give your own with --pictures DIR"
            )
        return _own_pictures(height)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; --pictures takes a folder of pictures")
    files = picture_files([folder])
    if len(files) < LEAST_PICTURES:
        raise ConfigError(f"{folder}: {len(files)} pictures; at least {LEAST_PICTURES} are needed")
    pictures = np.stack([load_picture(file, height, width) for file in files])
    return PictureSets(calibration=pictures[0::2], evaluation=pictures[1::2])


def _own_pictures(size: int) -> PictureSets:
    try:
        return PictureSets(
            calibration=calibration_pictures(CALIBRATION, size),
            evaluation=evaluation_pictures(EVALUATION, size),
        )
    except ConfigError as error:
        raise ConfigError(f"{error}, or give your own photos with --pictures DIR") from error


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
