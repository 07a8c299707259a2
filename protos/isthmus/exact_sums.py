"""ONNX Runtime with exact sums of 8-bit products, wherever Isthmus opens a graph.

x86 without VNNI adds two products of uint8 and int8 in 16 bits, which do not hold two large ones.
There ONNX Runtime lets them saturate unless it is told otherwise. No ONNX Runtime here: not every
installation has it.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")

__all__ = ["with_exact_sums"]


class _Options(Protocol):
    def add_session_config_entry(self, key: str, value: str) -> None: ...


def with_exact_sums(
    options: _Options, opened: Callable[[], T], failures: tuple[type[Exception], ...]
) -> T:
    """What `opened()` makes with `options` (`SessionOptions`), which are told here.

    Told so, ONNX Runtime makes weights uint8, and refuses some graphs over it (1.31: a constant
    with a step for each channel that is concatenated with uint8). Those are opened once more with
    layers between DequantizeLinear and QuantizeLinear in floats: as exact, and slower. Raises the
    first of `failures` where that fails as well.
    """
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return opened()
    except failures as error:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        try:
            return opened()
        except failures:
            raise error from None
