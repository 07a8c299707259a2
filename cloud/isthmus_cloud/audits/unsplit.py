"""The unsplit fp32 model, for raw inputs as the plan's own candidates carry them.

It is the tail of the cut `input`, in a session of its own: on the CPU, whatever runs the tails, as
it was when the plan was made; on one thread, the caller's. It is loaded with the first input.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from isthmus import Bundle, SymbolCoder
from isthmus.raw_input import is_exact, raw_input_ways
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.answering.routes import Route, routes_of
from isthmus_cloud.audits.comparing import NotComparedError
from isthmus_cloud.engines.onnx_runtime import CPU, OnnxTail

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
        engines = {name: _LateTail(bundle.file(str(cut.tail))) for name, cut in cuts.items()}
        only = msgspec.structs.replace(manifest, candidates=tuple(exact.values()))
        return cls(routes_of(only, engines))

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
        return route.run(frame.rung, tensors)

    def _route_of(self, frame: pb.Frame) -> Route:
        route = self._routes.get(frame.candidate)
        rungs = () if route is None else route.candidate.rungs
        if route is None or frame.rung >= len(rungs) or not is_exact(rungs[frame.rung].encodings):
            raise NotComparedError(
                f"rung {frame.rung} of candidate {frame.candidate[:MAX_ECHO]!r} does not carry raw "
                f"inputs exactly; here {', '.join(self._routes)} can"
            )
        return route


class _LateTail:
    """A tail that is loaded when it is first run."""

    provider = CPU

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tail: OnnxTail | None = None

    def run(self, feeds: Sequence[AnyArray]) -> Sequence[AnyArray]:
        """See `TailEngine.run`; ModelError if it cannot be loaded or fails."""
        if self._tail is None:
            self._tail = OnnxTail(self._path, CPU, threads=1)
        return self._tail.run(feeds)
