"""What is served: a bundle, and recorded frames of the candidates that the bench sends.

The frames are those of a real device: pictures through the head and the wire encoder of the plan.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isthmus import (
    Bundle,
    BundleError,
    Candidate,
    FrameEncoder,
    Manifest,
    Raw,
    SymbolCoder,
    decode_frame,
    open_bundle,
)
from isthmus_bench.serve.bundle import made_bundle, make_work_folder
from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.recorded import Case, Item, save_case
from isthmus_bench.serve.tails import Tail, TailSpec, save_spec, write_tail
from isthmus_edge import Chains, Stages
from isthmus_models import MODELS
from isthmus_partitioner import Samples

AnyArray = NDArray[np.generic]
Say = Callable[[str], None]
FORTY = 0.4  # of the work before the cut

__all__ = ["DEEPEST", "FORTIETH", "INPUT", "MIXED", "Served", "Subject", "make_subject"]

# What devices send: the smallest tail of the bundle, the cut nearest to 40 % of the work, the
# whole network's input, and devices at all of its cuts at once.
DEEPEST, FORTIETH, INPUT, MIXED = "deepest", "fortieth", "input", "mixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Frames of one candidate (`case`) and its tail (`spec`, as one graph `whole`) as files."""

    candidate: str
    macs_share: float
    payload_bytes: float
    case: Path
    spec: Path
    whole: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A bundle, and by what is sent (`DEEPEST` and so on) the candidates that take turns.

    `notes` for people.
    """

    bundle: Bundle
    served: Mapping[str, tuple[Served, ...]]
    notes: tuple[str, ...]

    @property
    def manifest(self) -> Manifest:
        """The plan."""
        return self.bundle.manifest


def make_subject(config: ServeBenchConfig, say: Say) -> Subject:
    """The bundle of the configuration, and its frames below the work folder.

    ConfigError or BundleError where there is none, or where it has no cut or no raw input.
    """
    path = config.bundle or made_bundle(config, say)
    bundle = open_bundle(path, "device")
    open_bundle(path, "cloud")
    folder = config.work / "frames"
    make_work_folder(folder)
    items, notes = _items(bundle.manifest, config)
    say(f"recording {len(items)} frames for each cut")
    recorder = _Recorder(bundle, folder, items)
    cuts = [recorder.served(each) for each in _one_a_cut(bundle.manifest)]
    whole = recorder.served(_raw_input(bundle.manifest))
    mixed = tuple(cuts) if len(cuts) > 1 else (whole, *cuts)
    served = {
        DEEPEST: (max(cuts, key=lambda each: each.macs_share),),
        FORTIETH: (min(cuts, key=lambda each: abs(each.macs_share - FORTY)),),
        INPUT: (whole,),
        MIXED: mixed,
    }
    return Subject(bundle=bundle, served=served, notes=notes)


class _Recorder:
    """The device half of a bundle, and its tails for the answers."""

    def __init__(
        self, bundle: Bundle, folder: Path, items: Sequence[Mapping[str, AnyArray]]
    ) -> None:
        self._bundle, self._folder, self._items = bundle, folder, items
        self._chains, self._stages = Chains(bundle, threads=1), Stages(bundle)
        self._coder = SymbolCoder()

    def served(self, candidate: Candidate) -> Served:
        """Record a candidate at its chosen rung."""
        spec = write_tail(self._bundle, candidate, self._folder)
        cut = self._bundle.manifest.cut_of(candidate)
        case = Case(
            candidate=candidate.id,
            cut=cut.id,
            macs_share=cut.macs_share,
            wires=spec.wires,
            items=tuple(self._recorded(candidate, spec)),
        )
        paths = [self._folder / f"{candidate.id}.{kind}" for kind in ("frames", "tail")]
        save_case(case, paths[0])
        save_spec(spec, paths[1])
        return Served(
            candidate=candidate.id,
            macs_share=cut.macs_share,
            payload_bytes=float(np.mean([len(item.frame) for item in case.items])),
            case=paths[0],
            spec=paths[1],
            whole=Path(spec.whole),
        )

    def _recorded(self, candidate: Candidate, spec: TailSpec) -> list[Item]:
        cut = self._bundle.manifest.cut_of(candidate)
        tail, encoder = Tail(spec, [spec.whole], threads=1), FrameEncoder()
        names = [tensor.boundary.name for tensor in cut.tensors]
        recorded = []
        for inputs in self._items:
            held = self._chains.of(cut).head(inputs, cut.depth, names)
            boundary = [held[name] for name in names]
            wire = self._stages.wire(cut, boundary, candidate.encodings, None)
            frame = encoder.encode(candidate, cut, candidate.chosen, wire, alone=True)
            tensors, _ = decode_frame(frame, candidate, cut, self._coder, None)
            raw = b"".join(np.ascontiguousarray(tensor).tobytes() for tensor in tensors)
            (first, *_) = tail.run(tail.feeds([raw]))
            answer = np.asarray(first, np.float32).tobytes()
            recorded.append(Item(frame.SerializeToString(), raw, answer))
        return recorded


def _one_a_cut(manifest: Manifest) -> list[Candidate]:
    """A candidate for every cut within the network, the shallowest first; BundleError if none."""
    found: dict[str, Candidate] = {}
    for candidate in manifest.candidates:
        cut = manifest.cut_of(candidate)
        if not candidate.is_local and cut.depth > 0:
            found.setdefault(cut.id, candidate)
    if not found:
        raise BundleError(f"{manifest.model_name}: this bundle has no cut to serve; plan with cuts")
    return sorted(found.values(), key=lambda each: manifest.cut_of(each).macs_share)


def _raw_input(manifest: Manifest) -> Candidate:
    for candidate in manifest.candidates:
        is_raw = all(isinstance(encoding, Raw) for encoding in candidate.encodings)
        if not candidate.is_local and is_raw and manifest.cut_of(candidate).depth == 0:
            return candidate
    raise BundleError(f"{manifest.model_name}: this bundle has no raw input to compare with")


def _items(
    manifest: Manifest, config: ServeBenchConfig
) -> tuple[list[dict[str, AnyArray]], tuple[str, ...]]:
    """Evaluation items of the catalogue's model of that name; else noise, and a note of that."""
    model = MODELS.get(manifest.model_name)
    if model is not None:
        samples = Samples(*model.items("evaluation", config.frames))
        if all(samples.arrays[s.name].shape[1:] == s.shape for s in manifest.inputs):
            return [dict(feed) for feed in samples.feeds(manifest.inputs)], ()
    random = np.random.default_rng(5)
    items = [
        {
            s.name: random.integers(0, 255, s.graph_shape).astype(s.data_type)
            for s in manifest.inputs
        }
        for _ in range(config.frames)
    ]
    return items, (f"{manifest.model_name} is not in the catalogue: its inputs are noise.",)
