"""The steps from a model to its bundle, each of which does the missing earlier ones.

A workbench keeps what it made in a directory, so that `profile`, `plan` and `build` can be run
one by one; a result is used again only if model, inputs and settings are the same.

    precision.json, int8.onnx, head.onnx   the QDQ graph, the head's mix of precisions, the search
    here.json                              what this machine took for them, on its runtimes of then
    profile.json                           times of every layer on the plan's device
    plan.json, parts/                      the plan and the files of its bundle
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import numpy as np
import onnx

from isthmus import ConfigError, sha256_of
from isthmus.profiles import DeviceProfile
from isthmus_partitioner.agreement.metrics import Metric
from isthmus_partitioner.bundle import write_bundle
from isthmus_partitioner.config import PlanConfig, Progress
from isthmus_partitioner.folders import whole_folder
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.twins import TwinRefusedError
from isthmus_partitioner.planning.listing import PLAN_RECORD, ModelCard
from isthmus_partitioner.planning.node_costs import NodeCosts
from isthmus_partitioner.planning.plan import Groundwork, make_plan
from isthmus_partitioner.planning.records import Plan
from isthmus_partitioner.precision.kept import known_precision, save_precision
from isthmus_partitioner.precision.on_device import for_device
from isthmus_partitioner.precision.search import Precision, search
from isthmus_partitioner.profiles.costs import node_costs
from isthmus_partitioner.profiles.kit import write_kit
from isthmus_partitioner.profiles.profile import Profile, profile_of
from isthmus_partitioner.profiles.runtime_choice import (
    NETWORKS,
    Choice,
    Rival,
    RuntimeNote,
    choose_runtimes,
)
from isthmus_partitioner.samples import Samples, SampleSets
from isthmus_partitioner.store import load_record, save_record, writing

__all__ = ["Devices", "Workbench"]

_LAYOUT = 4  # of the files in a work directory
_SMALL_BYTES = 4096  # constants that sizes may have become
# Under numpy 2, tflite-runtime is installed and cannot be used.
_RUNTIME_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "ai-edge-litert", "tflite-runtime", "numpy")


@dataclass(frozen=True, slots=True)
class Devices:
    """What measures here, and what was measured elsewhere.

    `measure` runs a profile kit on this machine; `edge` and `cloud` are profiles of the device and
    of the server the plan is for, None for this machine (with the configured factor).
    """

    measure: Callable[[Path], DeviceProfile]
    edge: DeviceProfile | None = None
    cloud: DeviceProfile | None = None


class Workbench:
    """Profiles, plans and builds one network; `work` is created if it is missing.

    Raises ModelError for a network that cannot be run, ConfigError for inputs that do not fit it,
    BundleError for a bundle that cannot be written.
    """

    def __init__(  # noqa: PLR0913
        self,
        network: Network,
        sets: SampleSets,
        metric: Metric,
        *,
        devices: Devices,
        config: PlanConfig,
        work: Path,
        card: ModelCard,
        progress: Progress,
    ) -> None:
        for samples in (sets.fitted, sets.held_back, sets.evaluation):
            _require_fit(samples, network)
        self._network, self._sets, self._metric = network, sets, metric
        self._devices, self._config = devices, config
        self._work, self._card, self._progress = work, card, progress

    @property
    def precision(self) -> Precision:
        """The int8 graph, and the precisions that heads have on the plan's device."""
        if self._devices.edge is None or self._config.integer_only:
            return self._searched
        budget = self._config.divergence_budget
        return for_device(self._searched, self._network, self.runtimes, budget)

    @cached_property
    def _searched(self) -> Precision:
        """The int8 graph, and the mix of precisions that is best in ONNX Runtime here."""
        with writing(self._work):
            known = known_precision(self._work, self._head_key)
            if known is None:
                known = search(
                    self._network,
                    self._sets,
                    self._metric,
                    self._progress,
                    budget=self._config.divergence_budget,
                    integer_only=self._config.integer_only,
                )
                save_precision(self._work, self._head_key, known)
        return known

    def write_kit(self, out: Path) -> Path:
        """A directory that a device with nothing but a runtime can measure."""
        return write_kit(self._network, self._models, self._sets.fitted, out)

    def with_edge(self, edge: DeviceProfile) -> "Workbench":
        """The same workbench for another device."""
        twin = copy(self)
        for known in ("costs", "_choice", "_plan_key"):
            vars(twin).pop(known, None)
        twin._devices = replace(self._devices, edge=edge)
        return twin

    def measured(self) -> DeviceProfile:
        """The profile of the plan's device, or of this machine where there is none."""
        return self._devices.edge or self.measured_here()

    def measured_here(self) -> DeviceProfile:
        """What this machine takes for the network in every precision."""
        path = self._work / "here.json"
        known = load_record(path, self._here_key, DeviceProfile)
        if known is None:
            with writing(self._work), tempfile.TemporaryDirectory(dir=self._work) as folder:
                kit = self.write_kit(Path(folder) / "kit")
                self._progress(f"profiling {len(self._network.model.graph.node)} nodes")
                known = self._devices.measure(kit)
                save_record(path, self._here_key, known)
        return known

    @property
    def runtimes(self) -> Mapping[str, RuntimeNote]:
        """What the plan's device runs its heads on, by network of a profile.

        ConfigError if nothing that was measured on it answers well.
        """
        return self._choice.notes

    @cached_property
    def _choice(self) -> Choice:
        rival = Rival(
            self._network, self._sets.held_back, self._metric, self._config.agreement_floor
        )
        where = "on this machine" if self._devices.edge is None else "on the device"
        return choose_runtimes(self.measured(), self._models, rival, where)

    @cached_property
    def costs(self) -> NodeCosts:
        """What each node costs on the plan's device and in its cloud."""
        devices = self._devices
        items = self._sets.fitted[:1]
        here = self.measured_here()
        return node_costs(
            self._network,
            here,
            devices.edge,
            devices.cloud,
            self._config,
            items,
            {name: note.runtime for name, note in self.runtimes.items()},
            self.precision.networks,
        )

    def profile(self) -> Profile:
        """Times of every layer on the plan's device and in its cloud."""
        devices = self._devices
        cloud = "this machine, all cores"
        if devices.cloud is not None:
            cloud = devices.cloud.conditions.device
        head = self.precision.chosen.name
        runtimes = self.runtimes.values()
        found = profile_of(self._network, self.costs, self.measured(), cloud, head, runtimes)
        unused = self._choice.refused.values()
        return msgspec.structs.replace(found, notes=(*found.notes, *unused))

    def plan(self) -> Plan:
        """The measured plan, with the files of its bundle in the work directory."""
        path = self._work / "plan.json"
        known = load_record(path, self._plan_key, Plan)
        if known is None or not self._has_parts(known):
            known = self._planned()
            with writing(self._work):
                save_record(path, self._plan_key, known)
        return known

    def _planned(self) -> Plan:
        """A plan of times on the runtimes that will run it.

        Where chains turn out to have no TFLite form, it is made again with their network on ONNX
        Runtime, for good: so it ends.
        """
        try:
            return self._planned_once()
        except TwinRefusedError as error:
            what = NETWORKS[error.network]
            self._progress(f"planning again without a TFLite form of {what}: {error}")
            twin = copy(self)
            vars(twin).pop("costs", None)
            twin._choice = self._choice.without_twin(error.network, str(error))
        return twin._planned()

    def _planned_once(self) -> Plan:
        groundwork = Groundwork(
            self._network,
            self.precision,
            self.profile(),
            self.costs,
            self._sets,
            self._metric,
            self._card,
            self.runtimes,
            tuple(self._choice.refused.values()),
        )
        with (
            writing(self._work),
            whole_folder(self._parts, PLAN_RECORD, "folder of parts") as parts,
        ):
            return make_plan(groundwork, self._config, parts, self._progress)

    def build(self, out: Path) -> Path:
        """Write the bundle."""
        plan = self.plan()
        self._progress(f"writing the bundle {out}")
        return write_bundle(plan, self._parts, out)

    @cached_property
    def _models(self) -> dict[str, onnx.ModelProto]:
        """The network in several precisions, by the names that profiles have for them."""
        precision = self._searched
        models = {"fp32": self._network.model}
        if precision.int8 is not None:
            models["int8"] = precision.int8
        if precision.chosen.kind != "fp32":
            models["head"] = precision.head
        return models

    @property
    def _parts(self) -> Path:
        return self._work / "parts"

    @cached_property
    def _head_key(self) -> str:
        """Stands for all that the head network is made from."""
        config = (self._config.divergence_budget, self._config.integer_only)
        sets = (self._sets.fitted, self._sets.held_back)
        metric = (type(self._metric).__name__, getattr(self._metric, "output", ""))
        network = (self._network.sha256, self._network.inputs, _graph_key(self._network))
        return _key(f"{network!r} {metric!r}", sets, config)

    @cached_property
    def _here_key(self) -> str:
        """And what measures it here."""
        return _key(self._head_key, (), _runtimes_here())

    @cached_property
    def _plan_key(self) -> str:
        devices = self._devices
        settings = (self._config, self._card, devices.edge, devices.cloud)
        return _key(self._here_key, (self._sets.evaluation,), settings)

    def _has_parts(self, plan: Plan) -> bool:
        files = ((self._parts / entry.path, entry.sha256) for entry in plan.manifest.files)
        return all(path.is_file() and sha256_of(path) == sha256 for path, sha256 in files)


def _require_fit(samples: Samples, network: Network) -> None:
    for spec in network.inputs:
        found = samples.arrays.get(spec.name)
        if found is None or found.shape[1:] != spec.shape:
            what = "missing" if found is None else f"{list(found.shape[1:])}"
            raise ConfigError(
                f"input {spec.name!r}: items are {what}, the network wants {list(spec.shape)}"
            )


def _graph_key(network: Network) -> str:
    """Tells graphs of one file apart that were made with different sizes."""
    digest = hashlib.sha256()
    for node in network.model.graph.node:
        digest.update(node.SerializeToString(deterministic=True))
    for tensor in network.model.graph.initializer:
        if tensor.ByteSize() <= _SMALL_BYTES:
            digest.update(tensor.SerializeToString(deterministic=True))
    return digest.hexdigest()


def _runtimes_here() -> dict[str, str]:
    """Versions of the packages that run heads here, as far as they are installed."""
    found = {}
    for name in _RUNTIME_PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _key(before: str, sets: tuple[Samples, ...], settings: object) -> str:
    digest = hashlib.sha256(f"{_LAYOUT} {before} {settings!r}".encode())
    for samples in sets:
        digest.update(repr(samples.sources).encode())
        for name in sorted(samples.arrays):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(samples.arrays[name]).data)
    return digest.hexdigest()
