"""The last step of a head: which stage a cut tensor needs, and what crosses behind it."""

import numpy as np
from numpy.typing import NDArray

from isthmus import ReadyStage, Stage, TensorSpec
from isthmus_partitioner.parts.boundary import Boundary
from isthmus_partitioner.wire.transform import Transform

__all__ = ["projection_of", "quantises", "ready_stage", "stage_is_needed", "stage_of", "wire_spec"]


def wire_spec(boundary: Boundary, transform: Transform) -> TensorSpec:
    """What crosses: uint8 symbols, or the tensor itself where it is not quantised."""
    if not stage_is_needed(boundary, transform):
        return boundary.spec
    return TensorSpec(
        name=f"{boundary.name}_symbols",
        data_type="uint8",
        shape=transform.wire_shape(boundary.tensor.shape),
        batch_axis=boundary.tensor.batch_axis,
    )


def stage_is_needed(boundary: Boundary, transform: Transform) -> bool:
    """Whether anything has to happen between the chain and the wire's table."""
    is_plain = transform.order is None and transform.components is None
    return boundary.is_quantised and (boundary.quantisation is None or not is_plain)


def quantises(boundary: Boundary, transform: Transform) -> bool:
    """Whether the stage makes symbols itself, with the frame's step."""
    quantises_now = boundary.quantisation is None or transform.components is not None
    return boundary.is_quantised and quantises_now


def stage_of(boundary: Boundary, transform: Transform, projection_file: str) -> Stage:
    """The manifest's record; a projection, if there is one, is in `projection_file`."""
    projects = transform.components is not None
    return Stage(
        order=() if transform.order is None else tuple(map(int, transform.order)),
        projection=projection_file if projects else None,
        held=boundary.quantisation if projects else None,
    )


def projection_of(transform: Transform) -> NDArray[np.float32] | None:
    """Rows [K,C+1] that give what `Transform.forward` projects onto; None if it does not."""
    if transform.components is None or transform.mean is None:
        return None
    offset = -transform.components @ transform.mean
    return np.column_stack([transform.components, offset]).astype(np.float32)


def ready_stage(boundary: Boundary, transform: Transform) -> ReadyStage:
    """The stage as the device will have it, without a file."""
    return ReadyStage(
        stage_of(boundary, transform, ""),
        quantises=quantises(boundary, transform),
        projection=projection_of(transform),
    )
