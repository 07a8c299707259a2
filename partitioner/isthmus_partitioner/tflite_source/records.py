"""A TFLite file as the importer sees it: tensors and operations, all sizes checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import ModelError

__all__ = ["AnyArray", "Quantisation", "Source", "SourceOp", "SourceTensor"]

AnyArray = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Quantisation:
    """real = scale * (integer - zero point); one pair, or one for each index of `axis`."""

    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int

    @property
    def is_per_channel(self) -> bool:
        """Whether there is more than one pair."""
        return self.scales.size > 1

    def real(self, values: AnyArray) -> NDArray[np.float32]:
        """What the integers stand for."""
        shape = [1] * values.ndim
        if self.is_per_channel:
            shape[self.axis] = -1
        zero_points = self.zero_points.reshape(shape).astype(np.float64)
        scales = self.scales.reshape(shape).astype(np.float64)
        real: NDArray[np.float32] = ((values.astype(np.float64) - zero_points) * scales).astype(
            np.float32
        )
        return real


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """One tensor; `content` are its raw bytes if it is a constant.

    `shape` is the file's, NHWC for images, with 1 for an open batch (`batches`).
    """

    name: str
    shape: tuple[int, ...]
    kind: np.dtype[Any]
    batches: bool
    quantisation: Quantisation | None
    content: memoryview | None

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def is_quantised(self) -> bool:
        """Whether its integers stand for real numbers."""
        return self.quantisation is not None

    def array(self) -> AnyArray:
        """The constant as it is stored; asks for `content`."""
        assert self.content is not None
        return np.frombuffer(self.content, self.kind).reshape(self.shape)

    def real(self) -> AnyArray:
        """The constant as float32 where it stands for real numbers."""
        values = self.array()
        if self.quantisation is not None:
            return self.quantisation.real(values)
        return values.astype(np.float32) if self.kind == np.float16 else values


@dataclass(frozen=True, slots=True)
class SourceOp:
    """One operation; `kind` is the builtin's name, -1 among `inputs` an input that is left out."""

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any

    def options_as(self, wanted: type[Any]) -> Any:
        """The options, the schema's defaults where there are none; ModelError for another kind."""
        if self.options is None:
            return wanted()
        if not isinstance(self.options, wanted):
            raise ModelError(
                f"operation {self.index} ({self.kind}) has options of another kind "
                f"({type(self.options).__name__}); convert the model again"
            )
        return self.options


@dataclass(frozen=True, slots=True)
class Source:
    """The file's only subgraph; `nbytes` is the size of the file."""

    path: Path
    sha256: str
    nbytes: int
    tensors: tuple[SourceTensor, ...]
    ops: tuple[SourceOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def is_quantised(self) -> bool:
        """Whether any operation reads or makes integers that stand for real numbers."""
        return any(tensor.is_quantised for tensor in self.tensors)
