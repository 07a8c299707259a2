"""Benches that measure nothing."""

from collections.abc import Callable
from typing import Generic, TypeVar

Config = TypeVar("Config")
Result = TypeVar("Result")

__all__ = ["Recorder"]


class Recorder(Generic[Config, Result]):
    """Has such a `result` at once, and remembers what it was asked to."""

    def __init__(self, result: Callable[[Config], Result]) -> None:
        self._result = result
        self.asked: list[Config] = []

    def __call__(self, config: Config, _say: object) -> Result:
        self.asked.append(config)
        return self._result(config)
