"""What a network is fitted to and judged on, and how its answers are compared."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import get_args

from isthmus import ConfigError
from isthmus.agreement.detection import Decode
from isthmus.agreement.layouts import LAYOUTS, decoder
from isthmus_cli.networks import ChosenNetwork
from isthmus_models import Model
from isthmus_models.items import photographs
from isthmus_partitioner.agreement.metrics import Metric, Task, metric_for
from isthmus_partitioner.config import UInt8Array
from isthmus_partitioner.inputs.arrays import read_arrays
from isthmus_partitioner.inputs.made_up import made_up_sets
from isthmus_partitioner.inputs.pictures import (
    MOST_PICTURES,
    PictureInput,
    picture_input,
    pictures_in,
)
from isthmus_partitioner.runtime import all_cores, open_session, run_items
from isthmus_partitioner.samples import Samples, SampleSets, limited, sets_of, split_by_source

CALIBRATION = 24
EVALUATION = 60
_TRIED_ITEMS = 2

__all__ = ["add_input_arguments", "metric_of", "samples_of"]


def add_input_arguments(group: argparse._ArgumentGroup) -> None:
    """Declare the flags that say what the network is run on and how answers are compared."""
    given = group.add_mutually_exclusive_group()
    given.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="your own pictures; sub-folders are sources if there are any, else each file is one. "
        "Sources are divided into those that ranges are fitted to and those that judge "
        "(default: photos that come with pip packages)",
    )
    given.add_argument(
        "--inputs",
        type=Path,
        nargs="+",
        metavar="FILE.npz",
        help="your own arrays, rows for each input by its name; each file is a source unless it "
        "holds an array `sources` of strings",
    )
    group.add_argument(
        "--task",
        choices=get_args(Task),
        default="auto",
        help="what it means that two answers agree: the same class, the same text, the same boxes "
        "(F1), or a cosine of 0.99 (default: as outputs look)",
    )
    group.add_argument(
        "--boxes",
        choices=sorted(LAYOUTS),
        help="how a detector lays out its boxes; --task detect needs it",
    )


def samples_of(options: argparse.Namespace, chosen: ChosenNetwork) -> SampleSets:
    """The items that were given, or the catalogue's, or photographs, or made-up ones.

    Raises ConfigError or PictureError that names the flag or file that does not fit the network.
    """
    sets = _sets(options, chosen)
    return replace(sets, notes=(*chosen.notes, *sets.notes))


def metric_of(options: argparse.Namespace, chosen: ChosenNetwork, sets: SampleSets) -> Metric:
    """The metric that was asked for, or the one that fits the outputs, tried on two items."""
    network, known = chosen.network, chosen.known
    task: Task = options.task
    if task == "auto" and known is not None:
        task = known.task
    if options.boxes and task not in {"auto", "detect"}:
        raise ConfigError(f"--boxes {options.boxes}: --task {task} compares no boxes; leave it out")
    decode = _decode_of(options, chosen) if task in {"auto", "detect"} else None
    if task != "auto" or decode is not None:
        return metric_for(task, network.outputs, decode)
    session = open_session(network.model, threads=all_cores())
    feeds = sets.fitted[:_TRIED_ITEMS].feeds(network.inputs)
    return metric_for(task, network.outputs, reference=run_items(session, feeds, network.outputs))


def _decode_of(options: argparse.Namespace, chosen: ChosenNetwork) -> Decode | None:
    layout = options.boxes or (chosen.known.boxes if chosen.known else None)
    if layout is None:
        return None
    image = _image(chosen)
    height, width = (0, 0) if image is None else (image.height, image.width)
    return decoder(layout, chosen.network.outputs, height, width)


def _sets(options: argparse.Namespace, chosen: ChosenNetwork) -> SampleSets:
    image = _image(chosen)
    if options.inputs:
        return _from_arrays(options.inputs, chosen)
    if options.pictures is not None:
        return _from_folder(options.pictures, chosen, image)
    if chosen.known is not None:
        return _from_catalogue(chosen, chosen.known)
    return made_up_sets(chosen.network) if image is None else _from_photographs(chosen, image)


def _from_catalogue(chosen: ChosenNetwork, known: Model) -> SampleSets:
    fitted = Samples(*known.items("calibration", known.calibration))
    judged = Samples(*known.items("evaluation", known.evaluation))
    for spec in chosen.network.inputs:
        found = fitted.arrays[spec.name].shape[1:]
        if found != spec.shape:
            raise ConfigError(
                f"{known.name}: its items have {spec.name!r} {list(found)}, the network as it was "
                f"sized {list(spec.shape)}; leave out --size, or give --inputs"
            )
    return sets_of(fitted, judged)


def _image(chosen: ChosenNetwork) -> PictureInput | None:
    """How the network takes a picture, if that is its only input."""
    inputs = chosen.network.inputs
    image = picture_input(inputs[0]) if len(inputs) == 1 else None
    # A float image without a scale is not known to be one.
    return None if image is None or (image.is_float and chosen.scale is None) else image


def _from_arrays(files: list[Path], chosen: ChosenNetwork) -> SampleSets:
    samples = read_arrays(files, chosen.network.inputs)
    rows = limited(samples.sources, MOST_PICTURES)
    sets = split_by_source(samples[rows])
    if len(rows) == len(samples):
        return sets
    note = f"{len(rows)} of {len(samples)} rows of --inputs were used, some of each source"
    return replace(sets, notes=(note, *sets.notes))


def _from_folder(folder: Path, chosen: ChosenNetwork, image: PictureInput | None) -> SampleSets:
    if image is None:
        described = ", ".join(
            f"{spec.name!r} {spec.data_type} {list(spec.shape)}" for spec in chosen.network.inputs
        )
        raise ConfigError(
            f"--pictures {folder}: the network takes {described}, which is no picture; give "
            "arrays with --inputs FILE.npz"
        )
    pictures, sources, notes = pictures_in(folder, image.height, image.width)
    sets = split_by_source(_taken(chosen, image, (pictures, sources)))
    return replace(sets, notes=(*notes, *sets.notes))


def _from_photographs(chosen: ChosenNetwork, image: PictureInput) -> SampleSets:
    try:
        fitted = photographs("calibration", CALIBRATION, image.height, image.width)
        judged = photographs("evaluation", EVALUATION, image.height, image.width)
    except ConfigError as error:
        raise ConfigError(f"{error}, or give your own photos with --pictures DIR") from error
    return sets_of(_taken(chosen, image, fitted), _taken(chosen, image, judged))


def _taken(
    chosen: ChosenNetwork, image: PictureInput, part: tuple[UInt8Array, tuple[str, ...]]
) -> Samples:
    """Pictures as the network takes them."""
    pictures, sources = part
    return image.samples(pictures[..., ::-1] if chosen.is_bgr else pictures, sources, chosen.scale)
