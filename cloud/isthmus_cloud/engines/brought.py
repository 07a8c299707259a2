"""An engine that somebody brings: `python://MODULE:FUNCTION` names what makes it.

The function is called as ``FUNCTION(provider, cores, bundle)``, with a str, a `cores.Cores` and an
`isthmus.Bundle`, and gives a `seam.Engine`. It runs in the service's process with all its rights,
so only whoever starts the service can name it; its answers are compared with those of the CPU as
those of any other engine are.
"""

import importlib
from collections.abc import Callable
from typing import cast

from isthmus import Bundle, ConfigError
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.seam import Engine

BROUGHT = "python://"

__all__ = ["BROUGHT", "brought_engine", "check_brought"]

OpenEngine = Callable[[str, Cores, Bundle], Engine]


def check_brought(choice: str) -> None:
    """ConfigError unless `choice` names a module and a function; nothing is imported."""
    module, _, function = choice.removeprefix(BROUGHT).partition(":")
    if not (function.isidentifier() and all(map(str.isidentifier, module.split(".")))):
        raise ConfigError(
            f"engine is {choice!r}; name a function that makes one: {BROUGHT}MODULE:FUNCTION"
        )


def brought_engine(choice: str, provider: str, cores: Cores, bundle: Bundle) -> Engine:
    """What the function makes; ConfigError if there is none."""
    check_brought(choice)
    module, _, name = choice.removeprefix(BROUGHT).partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"engine is {choice!r}: {error}; install the package that has it, or correct the name"
        ) from error
    return cast("OpenEngine", function)(provider, cores, bundle)
