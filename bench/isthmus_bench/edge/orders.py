"""What the bench asks of a device's process, and what that says: records of the two."""

from typing import Literal

import msgspec

from isthmus import Chain, RuntimeName

__all__ = ["ITEMS_NAME", "Memory", "Net", "Order", "Reply"]

ITEMS_NAME = "items.npz"  # in the folder of an order: `input_0` and so on, each [n,*graph shape]


class Net(msgspec.Struct, frozen=True):
    """A chain by a name of its own; what it makes of the model's outputs is `outputs`."""

    name: str
    chain: Chain
    outputs: tuple[str, ...] = ()


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do with a runtime, on one thread.

    "describe": is it here? "memory": load all of `nets`, run each `turns` times. "times": `turns`
    rounds in which they take turns. "answers": run each on every item, write what they make to the
    file `out`. Chains and items (of the inputs `inputs`) lie in `folder`.
    """

    do: Literal["describe", "memory", "times", "answers"]
    runtime: RuntimeName
    folder: str = ""
    inputs: tuple[str, ...] = ()
    nets: tuple[Net, ...] = ()
    turns: int = 2
    out: str = ""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """By how much a process grew: MB of 10^6 bytes that stay resident, and at the highest.

    `anonymous_mb` of what stays belongs to this process alone and cannot be dropped by the kernel,
    as pages of files can. None where the system does not say. `load_ms` is processor time.
    """

    settled_mb: float
    peak_mb: float | None
    anonymous_mb: float | None
    load_ms: float


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """`problem` says why the order was not done; `problems`, by net, why one was left out.

    `times_ms` are those of every turn, by net, in processor time of the thread that runs it.
    """

    version: str = ""
    problem: str | None = None
    memory: Memory | None = None
    times_ms: dict[str, list[float]] = {}
    problems: dict[str, str] = {}
