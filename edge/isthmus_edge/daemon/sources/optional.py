"""Libraries of the extra `isthmus[sources]`: found, or named with the way to get them."""

from importlib import import_module
from typing import Any

from isthmus import ConfigError

__all__ = ["required"]


def required(module: str, package: str, purpose: str) -> Any:
    """An optional module; ConfigError that says how to get it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{purpose} needs {package}, which is not installed ({error}); "
            "pip install 'isthmus[sources]'"
        ) from error
