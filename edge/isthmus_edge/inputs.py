"""What a caller hands in, checked before it counts: one array, or one for each input."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from isthmus import TensorSpec, WireError
from isthmus_edge.device.runtime import AnyArray

__all__ = ["Inputs", "checked_inputs"]

Inputs = NDArray[np.generic] | Mapping[str, NDArray[np.generic]]


def checked_inputs(inputs: Inputs, specs: Sequence[TensorSpec]) -> dict[str, AnyArray]:
    """Every input of the model by name, each as the graph takes it.

    Raises WireError that names what is missing, unknown, or of a wrong shape or type.
    """
    arrays = inputs if isinstance(inputs, Mapping) else _only(inputs, specs)
    names = [spec.name for spec in specs]
    missing = [name for name in names if name not in arrays]
    unknown = [str(name) for name in arrays if name not in names]
    if missing or unknown:
        wrong = [f"{', '.join(missing)} missing"] if missing else []
        wrong += [f"{', '.join(unknown)} unknown"] if unknown else []
        raise WireError(f"the model takes the inputs {', '.join(names)}; {' and '.join(wrong)}")
    return {spec.name: _checked(arrays[spec.name], spec) for spec in specs}


def _only(array: NDArray[np.generic], specs: Sequence[TensorSpec]) -> Mapping[str, AnyArray]:
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise WireError(f"the model takes the inputs {names}: give an array for each, by name")
    return {specs[0].name: array}


def _checked(array: NDArray[np.generic], spec: TensorSpec) -> AnyArray:
    """One item, with its batch dimension where the graph has one."""
    tensor = np.asarray(array, order="C")
    if tensor.shape not in {spec.shape, spec.graph_shape} or tensor.dtype != spec.data_type:
        raise WireError(
            f"input {spec.name!r} is {spec.data_type} {list(spec.shape)} (one item), "
            f"got {tensor.dtype} {list(tensor.shape)}"
        )
    return tensor.reshape(spec.graph_shape)
