"""The steps from a model to its bundle, each of which does the missing earlier ones.

A workbench keeps what it made in a directory, so that `profile`, `plan` and `build` can be run
one by one; a result is used again only if model, pictures and settings are the same.

    quantised.json, int8.onnx, head.onnx   ranges, the QDQ graph, the head's mix of precisions
    profile.json                           times of every layer and cut
    plan.json, parts/                      the plan and the files of its bundle
"""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
import onnx

from isthmus import ConfigError, sha256_of
from isthmus_partitioner.bundle import write_bundle
from isthmus_partitioner.config import PictureSets, PlanConfig, Progress, UInt8Array
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.planning.plan import ModelCard, Plan, make_plan
from isthmus_partitioner.precision.mixed import Quantised, Variant, quantise
from isthmus_partitioner.profiles.layers import Profile, profile
from isthmus_partitioner.store import load_record, save_record, writing

__all__ = ["Workbench"]

_LAYOUT = 2  # of the files in a work directory


class _QuantisedRecord(msgspec.Struct, frozen=True, kw_only=True):
    ranges: dict[str, tuple[float, float]]
    has_int8: bool
    chosen: Variant
    variants: tuple[Variant, ...]
    reason: str


class Workbench:
    """Profiles, plans and builds one network; `work` is created if it is missing.

    Raises ModelError for a network that cannot be run, ConfigError for pictures of the wrong size,
    BundleError for a bundle that cannot be written.
    """

    def __init__(
        self,
        network: Network,
        pictures: PictureSets,
        *,
        config: PlanConfig,
        work: Path,
        card: ModelCard,
        progress: Progress,
    ) -> None:
        _check_sizes((pictures.calibration, pictures.evaluation), network)
        self._network, self._pictures, self._config = network, pictures, config
        self._work, self._card, self._progress = work, card, progress
        self._quantised: Quantised | None = None

    def quantise(self) -> Quantised:
        """Ranges, the int8 graph and the chosen mix of precisions."""
        if self._quantised is None:
            with writing(self._work):
                self._quantised = self._known_quantised() or self._fresh_quantised()
        return self._quantised

    def profile(self) -> Profile:
        """Times of every layer and cut on this machine."""
        path = self._work / "profile.json"
        known = load_record(path, self._head_key, Profile)
        if known is None:
            head = self.quantise()
            with writing(self._work):
                known = profile(self._network, head, self._pictures, self._progress)
                save_record(path, self._head_key, known)
        return known

    def plan(self) -> Plan:
        """The measured plan, with the files of its bundle in the work directory."""
        path = self._work / "plan.json"
        known = load_record(path, self._plan_key, Plan)
        if known is None or not self._has_parts(known):
            profiled = self.profile()
            head = self.quantise()
            with writing(self._work):
                path.unlink(missing_ok=True)  # an interrupted plan leaves no record of an older one
                known = make_plan(
                    self._network,
                    head,
                    profiled,
                    self._pictures,
                    config=self._config,
                    card=self._card,
                    folder=self._parts,
                    progress=self._progress,
                )
                save_record(path, self._plan_key, known)
        return known

    def build(self, out: Path) -> Path:
        """Write the bundle."""
        plan = self.plan()
        self._progress(f"writing the bundle {out}")
        return write_bundle(plan, self._parts, out)

    @property
    def _parts(self) -> Path:
        return self._work / "parts"

    @cached_property
    def _head_key(self) -> str:
        """Stands for all that the head network and its profile are made from."""
        config = (self._config.kl_budget, self._config.fp32_layers)
        return _key(self._network.sha256, self._pictures.calibration, config)

    @cached_property
    def _plan_key(self) -> str:
        return _key(self._head_key, self._pictures.evaluation, (self._config, self._card))

    def _has_parts(self, plan: Plan) -> bool:
        files = ((self._parts / entry.path, entry.sha256) for entry in plan.manifest.files)
        return all(path.is_file() and sha256_of(path) == sha256 for path, sha256 in files)

    def _known_quantised(self) -> Quantised | None:
        known = load_record(self._work / "quantised.json", self._head_key, _QuantisedRecord)
        if known is None:
            return None
        head = onnx.load(self._work / "head.onnx")
        int8 = onnx.load(self._work / "int8.onnx") if known.has_int8 else None
        return Quantised(known.ranges, int8, head, known.chosen, known.variants, known.reason)

    def _fresh_quantised(self) -> Quantised:
        fresh = quantise(self._network, self._pictures, self._config, self._work, self._progress)
        onnx.save(fresh.head, self._work / "head.onnx")
        if fresh.int8 is not None:
            onnx.save(fresh.int8, self._work / "int8.onnx")
        record = _QuantisedRecord(
            ranges=dict(fresh.ranges),
            has_int8=fresh.int8 is not None,
            chosen=fresh.chosen,
            variants=fresh.variants,
            reason=fresh.reason,
        )
        save_record(self._work / "quantised.json", self._head_key, record)
        return fresh


def _check_sizes(sets: Iterable[UInt8Array], network: Network) -> None:
    for pictures in sets:
        if pictures.shape[1:] != network.input.shape:
            raise ConfigError(
                f"pictures are {list(pictures.shape[1:])}, the model wants "
                f"{list(network.input.shape)}; resize them"
            )


def _key(before: str, pictures: UInt8Array, settings: object) -> str:
    digest = hashlib.sha256(f"{_LAYOUT} {before} {settings!r}".encode())
    digest.update(np.ascontiguousarray(pictures).data)
    return digest.hexdigest()
