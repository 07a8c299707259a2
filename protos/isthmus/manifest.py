"""The bundle's manifest: the records that a plan is made of.

A bundle is a directory::

    bundle.json            this manifest
    labels.txt             class names, one a line (optional)
    device/<chain>-0.onnx  a chain of segments: a cut of depth d means "run the first d segments"
    device/<chain>-0.onnx.data  its weights, which the runtime maps
    device/<chain>-0.tflite  the same segment for LiteRT and tflite-runtime, where they cover it
    device/wire-<cut>.npy  a projection of a cut tensor's channels before the wire (optional)
    cloud/entry-<cut>.onnx  from what crosses to the network's own tensors: a dequantise
    cloud/tail-<i>.onnx    a part of the fp32 network; tails of nested cuts share their later parts
    record/*.json          profile and plan: why the bundle is what it is; nobody runs them

Segments read *boundary* tensors that earlier ones of their chain made: integers in the int8 part of
the network, floats in its fp32 part. What crosses the wire is made of them: *symbols*, at one of a
ladder of steps. Cuts that nest share a chain, so that the device holds the network once; their
tails share parts, so that the cloud does, too.
The fingerprint of a bundle is the sha256 of `bundle.json`, which holds the sha256 of every file.
"""

from typing import Literal

import msgspec

from isthmus.errors import ConfigError
from isthmus.tensors import Encoding, Quantisation, Record, TensorSpec

FORMAT_VERSION = 5
MANIFEST_NAME = "bundle.json"
LABELS_NAME = "labels.txt"

RuntimeName = Literal["onnxruntime", "litert", "tflite-runtime"]

__all__ = [
    "FORMAT_VERSION",
    "LABELS_NAME",
    "MANIFEST_NAME",
    "UNMEASURED",
    "Candidate",
    "Chain",
    "Cut",
    "CutTensor",
    "Figures",
    "FileEntry",
    "Manifest",
    "Rung",
    "RuntimeName",
    "Segment",
    "Stage",
    "TfliteForm",
]


class TfliteForm(Record, frozen=True):
    """A segment as a .tflite file, its inputs and outputs in the segment's order.

    Tensors in `channels_last` are [N,H,W,C] in it where the manifest says [N,C,H,W]; quantised
    ones are int8 where the manifest says uint8, by 128 less, with the same scale.
    """

    file: str
    channels_last: tuple[str, ...] = ()


class Segment(Record, frozen=True):
    """One link of a chain: an ONNX file that reads what the model's inputs and earlier links gave.

    A tensor that skips a segment is not passed through it: the device keeps it. `tflite` is the
    same graph for other runtimes; None where they do not cover one of its operators.
    """

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tflite: TfliteForm | None = None


class Chain(Record, frozen=True):
    """The whole network as segments, from the model's inputs to its outputs, in one precision.

    `runtime` was the fastest for it, of those measured on the plan's device whose answers will do;
    it is "onnxruntime" where the chain has no other form. Those of `unfit` answer otherwise than
    the figures of the plan say: they run nothing, unless somebody insists.
    """

    id: str
    precision: Literal["fp32", "int8"]
    segments: tuple[Segment, ...]
    runtime: RuntimeName = "onnxruntime"
    unfit: tuple[RuntimeName, ...] = ()

    def held(self, depth: int) -> tuple[str, ...]:
        """Names of the tensors made by the first `depth` segments that later ones still read."""
        made = {spec.name for segment in self.segments[:depth] for spec in segment.outputs}
        read = {spec.name for segment in self.segments[depth:] for spec in segment.inputs}
        return tuple(sorted(made & read))


class Stage(Record, frozen=True):
    """What the device does to a boundary tensor before the wire: `isthmus.stages` does it.

    `order` lists the channels as they are sent, () as they are. `projection` is a file of the
    device: float32 rows [K,C+1] that make K channels of C, the last column is added; `held` is then
    what integers of the boundary stand for. At most one of `order` and `projection` is there.
    """

    order: tuple[int, ...] = ()
    projection: str | None = None
    held: Quantisation | None = None


class CutTensor(Record, frozen=True):
    """One tensor of a cut: what the chain holds, and what crosses.

    `stage` makes `wire` of `boundary`: it permutes or projects channels and, where the boundary is
    no integer yet, quantises with the frame's step. Without a stage the boundary itself is what
    crosses.
    `quantisation` says how the integers that come out (of the stage, or of the chain) stand for
    real numbers; a table makes symbols of them. It is None where the stage quantises, and for
    tensors that are no symbols at all: pictures, ids, masks.
    """

    boundary: TensorSpec
    wire: TensorSpec
    quantisation: Quantisation | None = None
    stage: Stage | None = None

    @property
    def is_quantised(self) -> bool:
        """Whether symbols cross, and the tail has a step and a zero point beside them."""
        return self.quantisation is not None or self.stage is not None

    @property
    def feeds(self) -> tuple[str, ...]:
        """By which names the tail reads it: the wire tensor and, where it is quantised, its step
        (float32) and zero point (uint8), each [N] along the batch axis, or [] without one."""
        name = self.wire.name
        return (name, f"{name}/step", f"{name}/zero_point") if self.is_quantised else (name,)


class Cut(Record, frozen=True):
    """Where the network is divided: the first `depth` segments of `chain` run on the device.

    Depth 0 is `input` (nothing before), depth = number of segments is `local` (nothing after, no
    tensor, no tail). The tail is a list of graphs that run one after the other. Each reads, by
    name, what has crossed (`CutTensor.feeds`) and what the ones before it made; together they make
    the model's outputs but for `answers`, which the head has computed already. Where the tails of
    two cuts end in the same files, their frames can be run together from there on. `rest_ms` is
    what the rest of the chain takes on the plan's device.
    """

    id: str
    chain: str
    depth: int
    macs_share: float
    tensors: tuple[CutTensor, ...]
    tail: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    rest_ms: float = 0.0


class Figures(Record, frozen=True):
    """What was measured of a candidate, for one frame.

    Times are medians in ms. `edge_ms` and `encode_ms` hold for the device the plan was made for and
    the runtime of the chain (`Manifest.edge_factor` times what the same work took here),
    `decode_ms` and `tail_ms` for the machine that measured. `agreement` (0-1), its 95 % confidence
    interval, `divergence` and bytes come from the evaluation inputs, against the unsplit fp32
    model. `divergence` is in nats where the answer is a distribution, else the share of the
    answer's energy that is error.
    `answer_bytes` come back from the cloud. `memory_bytes`, 0 where it was not measured, is by how
    much the resident set of a fresh process grows at most while it loads the head's segments one
    after another and runs them: sessions with their weights, activations, and what the runtime sets
    up once with its first session. Python and the runtime as it was loaded are not in it, nor are
    stages and codecs, nor the rest of the chain, which an agent that may have to finish frames
    itself loads, too: what that takes is the figure of `local`, which is all segments.
    """

    edge_ms: float
    encode_ms: float
    decode_ms: float
    tail_ms: float
    payload_bytes: int
    payload_bytes_p95: int
    agreement: float
    agreement_low: float
    agreement_high: float
    divergence: float
    answer_bytes: int = 0
    memory_bytes: int = 0

    @property
    def device_ms(self) -> float:
        """All that the device computes for one frame."""
        return self.edge_ms + self.encode_ms

    @property
    def cloud_ms(self) -> float:
        """All that the cloud computes for one frame."""
        return self.decode_ms + self.tail_ms


UNMEASURED = Figures(
    edge_ms=0.0,
    encode_ms=0.0,
    decode_ms=0.0,
    tail_ms=0.0,
    payload_bytes=0,
    payload_bytes_p95=0,
    agreement=0.0,
    agreement_low=0.0,
    agreement_high=1.0,
    divergence=0.0,
)


class Rung(Record, frozen=True):
    """One step of a candidate's ladder: an encoding for each tensor of the cut, and its figures."""

    encodings: tuple[Encoding, ...]
    figures: Figures


class Candidate(Record, frozen=True):
    """Cut x head precision x wire encoding, with measured figures.

    `rungs` is the ladder that rate control walks, the finest (most bytes) first; `chosen` is the
    one to begin with, the coarsest that meets the agreement floor. `kept` says whether the plan
    offers the candidate to the policy, `reason` why or why not. `local` has one rung that sends
    nothing.
    """

    id: str
    cut: str
    precision: Literal["none", "fp32", "int8"]
    rungs: tuple[Rung, ...]
    chosen: int
    kept: bool
    reason: str

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        """Those of the chosen rung, one for each tensor of the cut."""
        return self.rungs[self.chosen].encodings

    @property
    def figures(self) -> Figures:
        """Those of the chosen rung."""
        return self.rungs[self.chosen].figures

    @property
    def is_local(self) -> bool:
        """Whether it sends nothing."""
        return not self.rungs[0].encodings

    def rung_for(self, floor: float) -> int | None:
        """The coarsest rung that meets an agreement floor, as do all finer ones; None if none does.

        A coarse rung above the floor behind a finer one below it is luck, not agreement.
        """
        meets = [rung.figures.agreement >= floor for rung in self.rungs]
        count = meets.index(False) if False in meets else len(meets)
        return count - 1 if count else None

    def at_floor(self, floor: float) -> "Candidate":
        """The same candidate with the rung for an agreement floor chosen; the finest if none is."""
        return msgspec.structs.replace(self, chosen=self.rung_for(floor) or 0)


class FileEntry(Record, frozen=True):
    """One file of the bundle; `side` says who needs it, "record" that nobody has to run it."""

    path: str
    side: Literal["device", "cloud", "both", "record"]
    size_bytes: int
    sha256: str


class Manifest(Record, frozen=True):
    """All that both sides know about a bundle; `metric` says what `agreement` counts.

    `batched` says that the graphs of all tails take any number of items along the batch axes, and
    give the same answers as for each by itself; else they take one.
    """

    format_version: int
    model_name: str
    model_sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metric: str
    chains: tuple[Chain, ...]
    cuts: tuple[Cut, ...]
    candidates: tuple[Candidate, ...]
    files: tuple[FileEntry, ...]
    agreement_floor: float
    edge_factor: float
    measured_on: str
    has_labels: bool
    batched: bool = False

    def cut_of(self, candidate: Candidate) -> Cut:
        """The cut of one of this manifest's candidates."""
        return next(cut for cut in self.cuts if cut.id == candidate.cut)

    def chain_of(self, cut: Cut) -> Chain:
        """The chain of one of this manifest's cuts."""
        return next(chain for chain in self.chains if chain.id == cut.chain)

    def candidate(self, candidate_id: str) -> Candidate:
        """Look a candidate up by its id; ConfigError names those that exist."""
        for candidate in self.candidates:
            if candidate.id == candidate_id:
                return candidate
        known = ", ".join(c.id for c in self.candidates)
        raise ConfigError(f"no candidate {candidate_id!r} in this bundle; it has: {known}")

    @property
    def local(self) -> Candidate:
        """The candidate that sends nothing; every plan has one."""
        return next(c for c in self.candidates if c.is_local)

    @property
    def kept(self) -> tuple[Candidate, ...]:
        """What the policy may choose from."""
        return tuple(c for c in self.candidates if c.kept)
