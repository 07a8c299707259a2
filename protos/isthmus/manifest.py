"""The bundle's manifest: the records that a plan is made of.

A bundle is a directory::

    bundle.json            this manifest
    labels.txt             class names, one a line (optional)
    device/segment-0.onnx  the device's chain: a cut of depth d means "run the first d segments"
    cloud/tail-<cut>.onnx  the rest of the network behind each cut, beginning with a dequantise

Segments hand each other the *quantised* boundary tensor (uint8); the same tensor crosses the wire.
The fingerprint of a bundle is the sha256 of `bundle.json`, which holds the sha256 of every file.
"""

import math
from typing import Literal

import msgspec

from isthmus.errors import ConfigError

FORMAT_VERSION = 1
MANIFEST_NAME = "bundle.json"
LABELS_NAME = "labels.txt"

__all__ = [
    "FORMAT_VERSION",
    "LABELS_NAME",
    "MANIFEST_NAME",
    "Candidate",
    "Cut",
    "Encoding",
    "Figures",
    "FileEntry",
    "Jpeg",
    "Manifest",
    "Quantisation",
    "Raw",
    "Segment",
    "Symbols",
    "TensorSpec",
]


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Frozen, and strict about its keys: a key nobody knows is an error, not a silence."""


class TensorSpec(_Record, frozen=True):
    """One tensor of one item: `shape` leaves out the batch dimension."""

    name: str
    data_type: Literal["uint8", "float32", "int64"]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements of one item."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of one item in memory."""
        return self.size * {"uint8": 1, "float32": 4, "int64": 8}[self.data_type]


class Quantisation(_Record, frozen=True):
    """How a uint8 tensor stands for real numbers: value = (q - zero_point) * scale."""

    scale: float
    zero_point: int


class Raw(_Record, frozen=True, tag="raw", tag_field="kind"):
    """The tensor's own bytes."""


class Jpeg(_Record, frozen=True, tag="jpeg", tag_field="kind"):
    """A JPEG of a uint8 picture [H,W,3]; `quality` as in libjpeg, 1-100."""

    quality: int


class Symbols(_Record, frozen=True, tag="symbols", tag_field="kind"):
    """Uniformly quantised symbols: value = (symbol - zero_point) * step, `levels` of them."""

    levels: Literal[16, 256]
    step: float
    zero_point: int


Encoding = Raw | Jpeg | Symbols


class Segment(_Record, frozen=True):
    """One link of the device's chain: an ONNX file from one boundary tensor to the next."""

    file: str
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]


class Cut(_Record, frozen=True):
    """Where the network is divided: the first `depth` segments run on the device.

    Depth 0 is `input` (nothing before), depth = number of segments is `local` (nothing after, no
    tensor, no tail). `quantisation` is that of the boundary tensor; the raw input has none.
    """

    id: str
    depth: int
    macs_share: float
    tensor: TensorSpec | None
    quantisation: Quantisation | None
    tail: str | None


class Figures(_Record, frozen=True):
    """What was measured of a candidate, for one frame.

    Times are medians in ms. `edge_ms` and `encode_ms` hold for the device the plan was made for
    (`Manifest.edge_factor` times what this machine took), `decode_ms` and `tail_ms` for the
    machine that measured. `agreement` (0-1), `kl` (nats) and bytes come from the evaluation
    pictures, against the unsplit fp32 model.
    """

    edge_ms: float
    encode_ms: float
    decode_ms: float
    tail_ms: float
    payload_bytes: int
    payload_bytes_p95: int
    agreement: float
    kl: float

    @property
    def device_ms(self) -> float:
        """All that the device computes for one frame."""
        return self.edge_ms + self.encode_ms

    @property
    def cloud_ms(self) -> float:
        """All that the cloud computes for one frame."""
        return self.decode_ms + self.tail_ms


class Candidate(_Record, frozen=True):
    """Cut x head precision x wire encoding, with measured figures.

    `kept` says whether the plan offers it to the policy, `reason` why or why not.
    """

    id: str
    cut: str
    precision: Literal["none", "fp32", "int8"]
    encoding: Encoding | None
    figures: Figures
    kept: bool
    reason: str


class FileEntry(_Record, frozen=True):
    """One file of the bundle; `side` says who needs it."""

    path: str
    side: Literal["device", "cloud", "both"]
    size_bytes: int
    sha256: str


class Manifest(_Record, frozen=True):
    """All that both sides know about a bundle."""

    format_version: int
    model_name: str
    model_sha256: str
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    segments: tuple[Segment, ...]
    cuts: tuple[Cut, ...]
    candidates: tuple[Candidate, ...]
    files: tuple[FileEntry, ...]
    agreement_floor: float
    edge_factor: float
    measured_on: str
    has_labels: bool

    def cut_of(self, candidate: Candidate) -> Cut:
        """The cut of one of this manifest's candidates."""
        return next(cut for cut in self.cuts if cut.id == candidate.cut)

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
        return next(c for c in self.candidates if c.encoding is None)

    @property
    def kept(self) -> tuple[Candidate, ...]:
        """What the policy may choose from."""
        return tuple(c for c in self.candidates if c.kept)
