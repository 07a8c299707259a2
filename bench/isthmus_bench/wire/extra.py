"""Modules of the extra `wire-bench`, loaded only when a benchmark asks for them."""

from importlib import import_module
from types import ModuleType

from isthmus.errors import ConfigError

__all__ = ["extra_module"]


def extra_module(name: str) -> ModuleType:
    """The module, or a ConfigError that says which extra brings it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{name} cannot be imported ({error}); pip install 'isthmus[wire-bench]'"
        ) from error
