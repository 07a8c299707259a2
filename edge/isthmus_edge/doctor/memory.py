"""Memory: how much there is, how much of it is ours, and whether a bundle fits."""

from collections.abc import Iterator

from isthmus_edge.control_group import available_memory_bytes, memory_figures, memory_limit
from isthmus_edge.doctor.finding import Finding, fail, note, warn
from isthmus_edge.doctor.surroundings import Surroundings

MIB = 1024 * 1024
LEAST_BYTES = 64 * MIB  # Python with numpy and gRPC alone takes more
LITTLE_BYTES = 256 * MIB

__all__ = ["LEAST_BYTES", "LITTLE_BYTES", "MIB", "look_at_memory"]


def look_at_memory(around: Surroundings) -> Iterator[Finding]:
    """All of it, what can be had, swap, and the control group's limit."""
    told = memory_figures(around)
    free = available_memory_bytes(around)
    if free is None:
        yield note("memory", "this system does not tell its memory")
        return
    limit = memory_limit(around)
    text = f"{_among_all(free, told)} can be had{_swap(told)}"
    if limit is not None:
        text += f", the control group may take {limit.limit_bytes / MIB:,.0f} MiB"
    figures = {
        "total_bytes": told.get("MemTotal"),
        "available_bytes": free,
        "swap_bytes": told.get("SwapTotal"),
        "limit_bytes": None if limit is None else limit.limit_bytes,
    }
    way_out = "end other programs, raise the limit (MemoryMax=, docker --memory) or add swap (zram)"
    if free < LEAST_BYTES:
        yield fail("memory", f"{text}: too little for any head", way_out, **figures)
    elif free < LITTLE_BYTES:
        way_out += "; let the agent take less: --max-memory"
        yield warn("memory", f"{text}: enough for small heads only", way_out, **figures)
    else:
        yield note("memory", text, **figures)


def _among_all(free: int, told: dict[str, int]) -> str:
    total = f" of {told['MemTotal'] / MIB:,.0f} MiB" if "MemTotal" in told else ""
    return f"{free / MIB:,.0f} MiB{total}"


def _swap(told: dict[str, int]) -> str:
    if "SwapTotal" not in told:
        return ""
    total, free = told["SwapTotal"], told.get("SwapFree", 0)
    return f", swap {free / MIB:,.0f} of {total / MIB:,.0f} MiB free" if total else ", no swap"
