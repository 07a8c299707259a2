"""A profile: what a network costs on one device; and the kit that it is measured with.

A kit is a directory that a device with nothing but a runtime can measure::

    kit.json        what this is, and the sha256 of every other file
    inputs.npz      a few real items; array `input_<i>` [n,*shape] is the i-th input of the network
    answers.npz     what ONNX Runtime gave for the first of them where the kit was written; array
                    `answer_<k>_<i>` [answered,*shape] is the i-th output of the k-th network
    <name>.onnx     the whole network as `fp32`, `int8`, or `head` (the chosen mix of precisions)
    <name>.weights  its weights
    <name>-<i>.onnx a prefix of it, over the same weights
    *.tflite        the same for LiteRT and tflite-runtime, where they cover it

`isthmus edge profile KIT -o FILE` makes a `DeviceProfile` of it. The fingerprint of a kit is the
sha256 of `kit.json`.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import msgspec

from isthmus.errors import BundleError, ConfigError
from isthmus.manifest import (
    RuntimeName,
    TfliteForm,
)
from isthmus.manifest_file import MAX_RANK, MAX_TENSOR_BYTES
from isthmus.tensors import (
    TensorSpec,
)

ANSWERS_NAME = "answers.npz"
INPUTS_NAME = "inputs.npz"
KIT_NAME = "kit.json"
KIT_VERSION = 2
PROFILE_VERSION = 2
_MAX_ARRAYS_BYTES = 4 * MAX_TENSOR_BYTES  # of all inputs together, and of a network's answers
_MAX_PROFILE_BYTES = 64 * 1024 * 1024  # 100,000 kernels take 10 MB

__all__ = [
    "ANSWERS_NAME",
    "INPUTS_NAME",
    "KIT_NAME",
    "KIT_VERSION",
    "PROFILE_VERSION",
    "Conditions",
    "DeviceProfile",
    "KernelTime",
    "Kit",
    "KitFile",
    "KitGraph",
    "KitNetwork",
    "KitPrefix",
    "NetworkTimes",
    "PrefixTime",
    "decode_kit",
    "decode_profile",
    "encode_kit",
    "encode_profile",
    "open_profile",
]

# What msgspec raises; the second for text that is no UTF-8, the third for brackets without end.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_PROFILE_AGAIN = "measure again with `isthmus edge profile KIT -o FILE`"
_KIT_AGAIN = "copy the kit again, or write it again with `isthmus profile --kit DIR MODEL`"


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Frozen, and strict about its keys: a key nobody knows is an error, not a silence."""


class KitFile(_Record, frozen=True):
    """One file of a kit; `path` is relative to it."""

    path: str
    size_bytes: int
    sha256: str


class KitGraph(_Record, frozen=True):
    """One graph of a kit; `inputs` names those of the kit's that it reads, in its own order."""

    file: str
    inputs: tuple[str, ...]
    tflite: TfliteForm | None = None


class KitPrefix(KitGraph, frozen=True, kw_only=True):
    """All that computes `tensors`, which are named as in the network that the kit was made of."""

    tensors: tuple[str, ...]


class KitNetwork(KitGraph, frozen=True, kw_only=True):
    """A whole network in one precision, and some prefixes of it, the shortest first."""

    name: str
    prefixes: tuple[KitPrefix, ...]


class Kit(_Record, frozen=True):
    """All that a device has to know to measure a network; `items` real inputs are in it.

    Of the first `answered` of them it has the answers: what each network gives for `outputs`, in
    the order of every network's own.
    """

    format_version: int
    isthmus: str
    model_name: str
    model_sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    items: int
    answered: int
    networks: tuple[KitNetwork, ...]
    files: tuple[KitFile, ...]


class Conditions(_Record, frozen=True):
    """Under what conditions times were taken.

    `device` is the board's own name where it has one. `runtimes` gives the version of each that was
    there to measure; only `networks` says what ran on which. `clock` is what `ms` means: the time
    of the one thread that computed, or the time on the wall where several did. `governor` is the
    kernel's power mode, None where there is none.
    """

    device: str
    processor: str
    system: str
    python: str
    numpy: str
    runtimes: dict[RuntimeName, str]
    isthmus: str
    threads: int
    clock: Literal["thread CPU time", "wall time"]
    governor: str | None
    power: Literal["mains", "battery", "unknown"]


class KernelTime(_Record, frozen=True):
    """25th percentile of one kernel by the runtime's own profiler, under the runtime's own name."""

    name: str
    op: str
    index: int
    ms: float


class NetworkTimes(_Record, frozen=True):
    """One whole network on one runtime: median, 25th and 75th percentile of a run, in ms.

    `drift` is how much longer the last third of the rounds took than the first, as a share.
    `memory_bytes` is what a fresh process grew by when it loaded and ran the network. `error` is
    how far its answers are from those in the kit: ``norm(difference) / norm(the kit's)`` of its
    worst output. `kernels` are in the order of running; their sum is not the network's time. Only
    ONNX Runtime tells them.
    """

    name: str
    runtime: RuntimeName
    ms: float
    low_ms: float
    high_ms: float
    memory_bytes: int
    drift: float
    error: float
    kernels: tuple[KernelTime, ...]


class PrefixTime(_Record, frozen=True):
    """All that computes `tensors` in one of the networks, timed as a whole like the network."""

    network: str
    runtime: RuntimeName
    tensors: tuple[str, ...]
    ms: float
    low_ms: float
    high_ms: float


class DeviceProfile(_Record, frozen=True):
    """What a network costs on one device, for one item.

    `memory` says what `memory_bytes` is: the highest resident memory, or that at the end.
    `temperature_c` is the processor's before and after, None where no sensor tells.
    """

    format_version: int
    model_name: str
    model_sha256: str
    kit_sha256: str
    taken_at: str
    conditions: Conditions
    rounds: int
    memory: Literal["peak", "at the end"]
    temperature_c: tuple[float, float] | None
    networks: tuple[NetworkTimes, ...]
    prefixes: tuple[PrefixTime, ...]
    notes: tuple[str, ...]

    def has(self, name: str) -> bool:
        """Whether the network of this name was measured."""
        return any(network.name == name for network in self.networks)

    def on_runtimes(self, name: str) -> tuple[NetworkTimes, ...]:
        """The network of this name on each runtime that was measured, the fastest first."""
        found = (network for network in self.networks if network.name == name)
        return tuple(sorted(found, key=lambda network: network.ms))

    def on(self, name: str, runtime: RuntimeName | None = None) -> NetworkTimes:
        """The network of this name on a runtime; None: on the one that is fastest for it.

        ConfigError names those that were measured.
        """
        for network in self.on_runtimes(name):
            if runtime in {None, network.runtime}:
                return network
        known = ", ".join(f"{network.name} on {network.runtime}" for network in self.networks)
        wanted = f"{name!r}" if runtime is None else f"{name!r} on {runtime}"
        raise ConfigError(
            f"the profile of {self.conditions.device} has no network {wanted}, it has: {known}; "
            + _PROFILE_AGAIN
        )


def encode_kit(kit: Kit) -> bytes:
    """Indented JSON, the bytes that a kit's fingerprint is taken of."""
    return msgspec.json.format(msgspec.json.encode(kit), indent=1) + b"\n"


def decode_kit(data: bytes, where: str) -> Kit:
    """Read and validate `kit.json`; BundleError names the file `where` and what is wrong."""
    _check_version(data, where, "profile kit", KIT_VERSION, _KIT_AGAIN)
    return _decoded(data, Kit, where, _KIT_AGAIN)


def encode_profile(profile: DeviceProfile) -> bytes:
    """Indented JSON."""
    return msgspec.json.format(msgspec.json.encode(profile), indent=1) + b"\n"


def decode_profile(data: bytes, where: str) -> DeviceProfile:
    """Read and validate a profile; BundleError names the file `where` and what is wrong."""
    _check_version(data, where, "device profile", PROFILE_VERSION, _PROFILE_AGAIN)
    return _decoded(data, DeviceProfile, where, _PROFILE_AGAIN)


def open_profile(path: Path) -> DeviceProfile:
    """Read a profile from a file; BundleError if that cannot be done."""
    try:
        if path.stat().st_size > _MAX_PROFILE_BYTES:
            raise BundleError(f"{path}: larger than any profile; {_PROFILE_AGAIN}")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: the profile cannot be read ({error.strerror}); name a file that "
            "`isthmus edge profile KIT -o FILE` wrote"
        ) from error
    return decode_profile(data, str(path))


class _VersionOnly(msgspec.Struct):
    format_version: int


def _check_version(data: bytes, where: str, what: str, known: int, way_out: str) -> None:
    try:
        version = msgspec.json.decode(data, type=_VersionOnly).format_version
    except _UNREADABLE as error:
        raise BundleError(f"{where}: not a {what}: {error}; {way_out}") from error
    if version != known:
        raise BundleError(
            f"{where}: {what} of format {version}, this Isthmus reads {known}; {way_out}, "
            "or install the version that made it"
        )


Record = TypeVar("Record", Kit, DeviceProfile)


def _decoded(data: bytes, kind: type[Record], where: str, way_out: str) -> Record:
    try:
        record = msgspec.json.decode(data, type=kind)
    except _UNREADABLE as error:
        raise BundleError(f"{where}: {error}; {way_out}") from error
    found = _kit_problems(record) if isinstance(record, Kit) else _profile_problems(record)
    problem = next(found, None)
    if problem is not None:
        raise BundleError(f"{where}: {problem}; {way_out}")
    return record


def _kit_problems(kit: Kit) -> Iterator[str]:
    """What is inconsistent in a kit whose types are already right."""
    if kit.items < 1 or not kit.inputs or not kit.outputs or not kit.networks:
        yield "it has no items, no inputs, no outputs or no networks"
    if not 1 <= kit.answered <= kit.items:
        yield f"it has answers for {kit.answered} of {kit.items} items"
    yield from _array_problems("input", kit.inputs, kit.items)
    yield from _array_problems("output", kit.outputs, kit.answered)
    yield from _repeated("network", (network.name for network in kit.networks))
    yield from _repeated("file", (file.path for file in kit.files))
    for file in kit.files:
        if not _is_inside(file.path):
            yield f"file name {file.path!r} leads out of the kit"
    yield from _graph_problems(kit)


def _array_problems(what: str, specs: tuple[TensorSpec, ...], items: int) -> Iterator[str]:
    yield from _repeated(what, (spec.name for spec in specs))
    for spec in specs:
        impossible = any(n < 1 for n in spec.shape) or len(spec.shape) > MAX_RANK
        if impossible or spec.nbytes * items > MAX_TENSOR_BYTES:
            yield f"{what} {spec.name!r} has the impossible shape {items} x {spec.shape}"
        if spec.batch_axis is not None and not 0 <= spec.batch_axis <= len(spec.shape):
            yield f"{what} {spec.name!r} has the impossible batch axis {spec.batch_axis}"
    if sum(spec.nbytes for spec in specs) * items > _MAX_ARRAYS_BYTES:
        yield f"its {what}s are larger than any kit's"


def _graph_problems(kit: Kit) -> Iterator[str]:
    graphs: list[KitGraph] = []
    for network in kit.networks:
        graphs += (network, *network.prefixes)
    wanted = {INPUTS_NAME, ANSWERS_NAME} | {graph.file for graph in graphs}
    wanted |= {graph.tflite.file for graph in graphs if graph.tflite is not None}
    known = {spec.name for spec in kit.inputs}
    for graph in graphs:
        if not known.issuperset(graph.inputs):
            yield f"{graph.file} reads {sorted(set(graph.inputs) - known)}, no inputs of the kit"
    for path in sorted(wanted - {file.path for file in kit.files}):
        yield f"{path} is used, but not listed among its files"


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and ".." not in parts and parts[0] != "/" and not set(path) & set("\\:\0")


def _profile_problems(profile: DeviceProfile) -> Iterator[str]:
    if not profile.networks:
        yield "it has no networks"
    yield from _repeated("network", (f"{n.name} on {n.runtime}" for n in profile.networks))
    for network in profile.networks:
        where = f"network {network.name!r} on {network.runtime}"
        yield from _time_problems(where, network.low_ms, network.ms, network.high_ms)
        if network.memory_bytes < 0 or not math.isfinite(network.drift):
            yield f"{where} has an impossible memory or drift"
        if not (math.isfinite(network.error) and network.error >= 0):
            yield f"{where} has an impossible error"
        for kernel in network.kernels:
            yield from _time_problems(f"kernel {kernel.name!r} of {where}", kernel.ms)
    known = {(network.name, network.runtime) for network in profile.networks}
    for prefix in profile.prefixes:
        where = f"prefix {list(prefix.tensors)} of {prefix.network!r} on {prefix.runtime}"
        yield from _time_problems(where, prefix.low_ms, prefix.ms, prefix.high_ms)
        if (prefix.network, prefix.runtime) not in known or not prefix.tensors:
            yield f"{where} is of no network in it, or ends nowhere"
    if not all(math.isfinite(degrees) for degrees in profile.temperature_c or ()):
        yield "it has an impossible temperature"
    if profile.rounds < 1 or profile.conditions.threads < 1:
        yield f"{profile.rounds} rounds of {profile.conditions.threads} threads measure nothing"


def _time_problems(where: str, *times_ms: float) -> Iterator[str]:
    if not all(math.isfinite(ms) and ms >= 0 for ms in times_ms) or sorted(times_ms) != [*times_ms]:
        yield f"{where} has impossible times"


def _repeated(what: str, names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield f"{what} {name!r} stands in it twice"
        seen.add(name)
