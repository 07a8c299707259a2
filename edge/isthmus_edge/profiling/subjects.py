"""What of a kit is measured: its networks and prefixes, each on every runtime that takes it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isthmus.profiles import KitGraph, KitNetwork
from isthmus_edge.profiling.kit import OpenKit
from isthmus_edge.runtimes import FoundRuntime, GraphFiles

__all__ = ["Subject", "refusals_of", "subjects_of"]


@dataclass(frozen=True, slots=True)
class Subject:
    """One network on one runtime, which is not imported for it: its import may crash."""

    network: KitNetwork
    runtime: FoundRuntime

    @property
    def name(self) -> str:
        """For people, and as the key of what was kept."""
        return f"{self.network.name} on {self.runtime.name}"

    def parts(self, kit: OpenKit) -> Iterator[tuple[str, GraphFiles]]:
        """The network and those of its prefixes that the runtime takes, each with its key."""
        graphs: list[KitGraph] = [self.network, *self.network.prefixes]
        for part in graphs:
            files = _files(kit, part)
            if files.refused_by(self.runtime.name) is None:
                yield self.key(part), files

    def key(self, part: KitGraph) -> str:
        """Under which the times of a part are kept."""
        return f"{part.file} on {self.runtime.name}"


def subjects_of(kit: OpenKit, runtimes: Sequence[FoundRuntime]) -> Iterator[Subject]:
    """Every network on every runtime that takes it."""
    for network in kit.kit.networks:
        for runtime in runtimes:
            if _files(kit, network).refused_by(runtime.name) is None:
                yield Subject(network, runtime)


def refusals_of(kit: OpenKit, runtimes: Sequence[FoundRuntime]) -> Iterator[str]:
    """Which networks some runtimes do not take, and why, in words."""
    for network in kit.kit.networks:
        for runtime in runtimes:
            reason = _files(kit, network).refused_by(runtime.name)
            if reason is not None:
                yield f"{network.name} on {runtime.name} was not measured: {reason}"


def _files(kit: OpenKit, part: KitGraph) -> GraphFiles:
    specs = {spec.name: spec for spec in kit.kit.inputs}
    inputs = tuple(specs[name] for name in part.inputs)
    outputs = kit.kit.outputs if isinstance(part, KitNetwork) else ()
    return GraphFiles(kit.folder, part.file, part.tflite, inputs, outputs)
