"""Sliding windows: ONNX's pads in the two ways of padding that TFLite knows."""

from dataclasses import dataclass

from isthmus_partitioner.tflite.schema import Padding
from isthmus_partitioner.tflite.step import Step

__all__ = ["Placement", "Window", "window_of"]


@dataclass(frozen=True, slots=True)
class Placement:
    """TFLite's kind of padding, and what has to be padded before: (top, bottom), (left, right)."""

    padding: int
    before: tuple[tuple[int, int], tuple[int, int]] | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A window over height and width; `pads` are those in front, `ends` those behind."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int]
    ends: tuple[int, int]
    sizes: tuple[int, int]  # of the input
    steps: tuple[int, int]  # of the output

    @property
    def is_unpadded(self) -> bool:
        """Whether no window reaches over an edge."""
        return self.pads == (0, 0) and all(rest <= 0 for rest in self.rests)

    @property
    def begins_outside(self) -> bool:
        """Whether a last window begins behind the far edge."""
        return any(
            (self.steps[axis] - 1) * self.strides[axis] - self.pads[axis] >= self.sizes[axis]
            for axis in range(2)
        )

    @property
    def rests(self) -> tuple[int, int]:
        """How far the last windows reach over the far edges; negative where they do not."""
        height, width = (
            self._reach(axis) - self.sizes[axis] - self.pads[axis] for axis in range(2)
        )
        return height, width

    @property
    def placement(self) -> Placement:
        """How TFLite says it."""
        if self.is_unpadded:
            return Placement(Padding.VALID)
        if self._is_same(0) and self._is_same(1):
            return Placement(Padding.SAME)
        rests = self.rests
        before = ((self.pads[0], max(rests[0], 0)), (self.pads[1], max(rests[1], 0)))
        return Placement(Padding.VALID, before)

    def _reach(self, axis: int) -> int:
        """From the first element of the first window to behind the last of the last."""
        return (self.steps[axis] - 1) * self.strides[axis] + self._length(axis)

    def _length(self, axis: int) -> int:
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def _is_same(self, axis: int) -> bool:
        """TFLite's SAME: as many steps as strides begin inside, the smaller half in front."""
        steps = -(-self.sizes[axis] // self.strides[axis])
        total = max(self._reach(axis) - self.sizes[axis], 0)
        return self.steps[axis] == steps and self.pads[axis] == total // 2


def window_of(step: Step, kernel: tuple[int, ...]) -> Window:
    """The window of a Conv or a pool over [N,C,H,W]; refuses other ranks."""
    shape, made = step.shape(step.inputs[0]), step.shape(step.outputs[0])
    if len(shape) != 4 or len(kernel) != 2:
        raise step.refused(f"a window over {len(kernel)} dimensions is not covered, only over 2")
    strides = _pair(step.attribute("strides", [1, 1]))
    dilations = _pair(step.attribute("dilations", [1, 1]))
    sizes, steps = (shape[2], shape[3]), (made[2], made[3])
    size = (kernel[0], kernel[1])
    pads = tuple(step.attribute("pads", [0, 0, 0, 0]))
    automatic = step.attribute("auto_pad", "NOTSET")
    if automatic not in ("NOTSET", ""):
        plain = Window(size, strides, dilations, (0, 0), (0, 0), sizes, steps)
        pads = _automatic(automatic, plain.rests)
    return Window(size, strides, dilations, (pads[0], pads[1]), (pads[2], pads[3]), sizes, steps)


def _automatic(kind: str, totals: tuple[int, int]) -> tuple[int, int, int, int]:
    if kind == "VALID":
        return (0, 0, 0, 0)
    whole = [max(total, 0) for total in totals]
    small, large = [total // 2 for total in whole], [total - total // 2 for total in whole]
    first, last = (small, large) if kind == "SAME_UPPER" else (large, small)
    return (first[0], first[1], last[0], last[1])


def _pair(values: list[int]) -> tuple[int, int]:
    return (int(values[0]), int(values[-1]))
