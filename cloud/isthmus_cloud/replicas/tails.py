"""A bundle version on replicas, as the service knows it: tails whose batches run elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from isthmus import Bundle, ConfigError, ModelError
from isthmus_cloud.answering.parts import Part, Tail, tails_of
from isthmus_cloud.engines.batch_times import BatchTimes
from isthmus_cloud.engines.seam import AnyArray, Value
from isthmus_cloud.replicas.caller import Caller
from isthmus_cloud.replicas.calls import Description, PartFacts, release
from isthmus_cloud.replicas.cluster import Cluster
from isthmus_cloud.replicas.known import known
from isthmus_cloud.replicas.naming import DEPLOYMENT
from isthmus_cloud.replicas.serve_line import ServeLine
from isthmus_cloud.replicas.serving import asked
from isthmus_cloud.replicas.spec import narrowed, specs_of
from isthmus_cloud.telemetry import Happening

DESCRIBED_WITHIN_S = 120.0  # replicas that hold several models may have to load this one

__all__ = ["replica_tails"]


@contextmanager
def replica_tails(
    cluster: Cluster,
    max_batch: int,
    announce: Callable[[str], None],
    note: Callable[[Happening], None],
    bundle: Bundle,
    version: tuple[str, str] = ("", ""),
) -> Iterator[Mapping[str, Tail]]:
    """Tails by cut id, as long as the context lasts; then the replicas go, unless another front end
    uses them. Takes seconds: not on a loop.

    `note` hears of calls that are lost. `version` is the deployment's model and version. Raises
    ModelError, BundleError or ConfigError where replicas cannot hold the bundle, LinkError where
    the cluster does not answer.
    """
    specs = specs_of(bundle, cluster.settings, max_batch)
    began_s = time.perf_counter()
    with cluster.applications(specs) as names:
        tails: dict[str, Tail] = {}
        for name, spec in zip(names, specs, strict=True):
            line = cluster.line(name, spec)
            described = _description(name, line)
            parts = {file: _part(file, facts) for file, facts in described.parts.items()}
            caller = Caller(
                *(line, known(name, DEPLOYMENT), parts, note),
                joins=not spec.cuts,
                spreads=cluster.settings.models == 0,
            )
            manifest = narrowed(bundle.manifest, spec)
            engine = _ReplicaEngine(described.provider)
            made = tails_of(manifest, engine, parts, max_batch, *version)
            tails |= {cut: replace(tail, elsewhere=caller) for cut, tail in made.items()}
            took_s = time.perf_counter() - began_s
            announce(f"{name} ready: {', '.join(made)} on {described.provider}, {took_s:.1f} s")
        yield tails


def _description(name: str, line: ServeLine) -> Description:
    with asked(f"what {name} holds"):
        encoded = line.describe(DESCRIBED_WITHIN_S)
    described = msgspec.msgpack.decode(encoded, type=Description)
    if described.release != release():
        raise ConfigError(
            f"{name}: its replicas run Isthmus {described.release}, this service {release()}; give "
            "all machines of the cluster one release"
        )
    return described


def _part(file: str, facts: PartFacts) -> Part:
    program = _ReplicaProgram(facts.inputs, facts.outputs, facts.sizes)
    return Part(file, program, BatchTimes(facts.measured, facts.took_ms))


@dataclass(frozen=True, slots=True)
class _ReplicaProgram:
    """What is known here of a part that replicas hold; see `seam.Program`."""

    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    sizes: tuple[int, ...]

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        """Not here."""
        raise ModelError(f"{', '.join(self.outputs)} are computed by replicas")


@dataclass(frozen=True, slots=True)
class _ReplicaEngine:
    """See `seam.Engine`; nothing is computed here."""

    computes: str

    @property
    def provider(self) -> str:
        """What computes on the replicas."""
        return f"Ray Serve, {self.computes}"

    def load(self, path: Path) -> _ReplicaProgram:
        """Not here."""
        raise ModelError(f"{path} is loaded by replicas")

    def join(self, values: Sequence[Value], axis: int) -> Value:
        """Not here."""
        raise ModelError("batches are put together by replicas")

    def to_host(self, value: Value) -> AnyArray:
        """Not here."""
        raise ModelError("tensors are on replicas")

    def close(self) -> None:
        """See `replica_tails`."""
