"""The unsplit fp32 model, for raw inputs as the plan's own candidates carry them.

It is the tail of the cut `input` with sessions of its own: on the CPU, whatever runs the tails, as
it was when the plan was made; on one thread, the caller's. It is loaded with the first input.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import msgspec

from isthmus import Bundle, SymbolCoder
from isthmus.raw_input import is_exact, raw_input_ways
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.answering.parts import Part, tails_of
from isthmus_cloud.answering.routes import Route, routes_of
from isthmus_cloud.audits.comparing import NotComparedError
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine, OrtProgram
from isthmus_cloud.engines.seam import Value

MAX_ECHO = 60  # characters of a stranger's text that a message repeats

__all__ = ["Unsplit"]


class Unsplit:
    """Runs raw inputs through the whole model; for one thread, but for `frame_bytes`."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes
        self._coder = SymbolCoder()

    @classmethod
    def of(cls, bundle: Bundle) -> Self | None:
        """The bundle's; None if none of its candidates carries raw inputs exactly."""
        manifest = bundle.manifest
        exact = {candidate.id: candidate for candidate, _ in raw_input_ways(manifest)}
        if not exact:
            return None
        cuts = {cut.id: cut for cut in map(manifest.cut_of, exact.values())}
        engine = OrtEngine(Cores(1))
        files = {part for cut in cuts.values() for part in cut.tail}
        parts = {name: Part(name, _LateProgram(engine, bundle.file(name))) for name in files}
        only = msgspec.structs.replace(
            manifest, candidates=tuple(exact.values()), cuts=tuple(cuts.values())
        )
        return cls(routes_of(only, tails_of(only, engine, parts, max_batch=1)))

    @property
    def max_bytes(self) -> int:
        """The most that a right frame takes; see `frame_bytes`."""
        return max(route.max_bytes for route in self._routes.values())

    def frame_bytes(self, frame: pb.Frame) -> int:
        """The memory of a frame; NotComparedError or WireError if it carries no raw input."""
        route = self._route_of(frame)
        return route.frame_bytes(frame)

    def run(self, frame: pb.Frame) -> Sequence[AnyArray]:
        """All outputs, each of its `graph_shape`; WireError for what is not as the plan says."""
        route = self._route_of(frame)
        tensors, _ = route.decode(frame, self._coder, None)
        names = (tensor.wire.name for tensor in route.cut.tensors)
        return route.tail.run(dict(zip(names, tensors, strict=True)))

    def _route_of(self, frame: pb.Frame) -> Route:
        route = self._routes.get(frame.candidate)
        rungs = () if route is None else route.candidate.rungs
        if route is None or frame.rung >= len(rungs) or not is_exact(rungs[frame.rung].encodings):
            raise NotComparedError(
                f"rung {frame.rung} of candidate {frame.candidate[:MAX_ECHO]!r} does not carry raw "
                f"inputs exactly; here {', '.join(self._routes)} can"
            )
        return route


class _LateProgram:
    """A graph that is loaded when it is first asked for."""

    sizes: tuple[int, ...] = ()

    def __init__(self, engine: OrtEngine, path: Path) -> None:
        self._engine = engine
        self._path = path

    @cached_property
    def _program(self) -> OrtProgram:
        return self._engine.load(self._path)

    @property
    def inputs(self) -> Mapping[str, str]:
        """See `Program.inputs`."""
        return self._program.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """See `Program.outputs`."""
        return self._program.outputs

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        """See `Program.run`; ModelError if it cannot be loaded, too."""
        return self._program.run(feeds)
