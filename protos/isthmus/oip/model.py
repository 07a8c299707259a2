"""The seam: what is served, be it a device's agent or a tail in the cloud."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from isthmus.tensors import (
    TensorSpec,
)

AnyArray = NDArray[np.generic]
Tensor = AnyArray | bytes
Parameter = bool | int | float | str

__all__ = [
    "AnyArray",
    "Model",
    "Models",
    "Parameter",
    "Reply",
    "Repository",
    "Tensor",
    "Unloaded",
    "is_batched",
]


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one item.

    `outputs` maps every output's name to its array, as the graph gives it for a batch of one
    (`TensorSpec.graph_shape`). `parameters` go back with the response; `labels` name the classes
    of an output for clients that ask for a classification.
    """

    outputs: Mapping[str, AnyArray]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    labels: Sequence[str] = ()


class Model(Protocol):
    """One model that answers items. Its properties do not change while it is listed."""

    @property
    def name(self) -> str:
        """What clients ask for."""

    @property
    def versions(self) -> tuple[str, ...]:
        """Those that can be asked for, the one that answers last."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What an item is made of."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What an answer is made of."""

    @property
    def is_ready(self) -> bool:
        """Whether an item that comes now would be answered."""

    async def infer(
        self,
        tensors: Mapping[str, Tensor],
        parameters: Mapping[str, Parameter],
        deadline_s: float | None,
    ) -> Reply:
        """The answer to one item: an array [*graph_shape] for each input, or an encoded picture
        (JPEG, PNG) where the input `codec.takes_pictures`.

        `deadline_s` is a moment of `time.monotonic`, or None; an answer that comes after it is an
        answer all the same. Raises IsthmusError. Cancelling it ends the wait.
        """


def is_batched(model: Model) -> bool:
    """Whether it takes batches as Triton has them: along the first dimension of every tensor."""
    return all(spec.batch_axis == 0 for spec in (*model.inputs, *model.outputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloaded:
    """A model that could be served and is not."""

    name: str
    version: str
    reason: str


class Repository(Protocol):
    """Where models can be loaded from; RefusalError says why one cannot be."""

    async def load(self, name: str) -> None:
        """Serve it; its present version, if it is served."""

    async def unload(self, name: str) -> None:
        """Serve it no more."""

    async def unloaded(self) -> Sequence[Unloaded]:
        """What is there and not served."""


class Models(Protocol):
    """Whatever is served at the moment."""

    def listed(self) -> Sequence[Model]:
        """All of them; an empty list says that the server is not ready."""
