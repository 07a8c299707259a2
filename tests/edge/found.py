"""Runtimes as a device finds them, without any package."""

from isthmus_edge.runtimes import EXTRAS, FoundRuntime, Runtime, RuntimeName

__all__ = ["broken", "found", "missing"]


def found(runtime: Runtime) -> FoundRuntime:
    """One that is installed."""
    return FoundRuntime(runtime.name, "0", lambda: runtime)


def missing(name: RuntimeName) -> FoundRuntime:
    """One that is not."""

    def load() -> Runtime:
        raise NotImplementedError(f"pip install '{EXTRAS[name]}'")

    return FoundRuntime(name, None, load)


def broken(name: RuntimeName) -> FoundRuntime:
    """One that is installed and cannot be imported."""

    def load() -> Runtime:
        raise ImportError("libfoo.so: no such file")

    return FoundRuntime(name, "0", load)
