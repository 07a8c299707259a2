"""The contract that device and cloud share: messages, wire codec, bundle manifest, error tree."""

import os

from isthmus.addresses import is_loopback
from isthmus.bundle import Bundle, open_bundle, sha256_of
from isthmus.errors import (
    AgentClosedError,
    BundleError,
    ConfigError,
    IsthmusError,
    LinkError,
    ModelError,
    PeerError,
    PictureError,
    WireError,
)
from isthmus.machine import describe_machine
from isthmus.manifest import (
    FORMAT_VERSION,
    Candidate,
    Cut,
    Encoding,
    Figures,
    FileEntry,
    Jpeg,
    Manifest,
    Quantisation,
    Raw,
    Segment,
    Symbols,
    TensorSpec,
)
from isthmus.manifest_file import decode_manifest, encode_manifest
from isthmus.picture_files import load_picture, picture_files
from isthmus.symbols import Coded, SymbolCoder, requantise_table
from isthmus.tensors import (
    MESSAGE_HEADROOM_BYTES,
    TensorEncoder,
    decode_answer,
    decode_tensor,
    encode_answer,
    max_frame_bytes,
    max_payload_bytes,
)

__version__ = "0.1.0"

# ONNX Runtime reads this when it loads: from 1.29 on it reports to its makers unless told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "FORMAT_VERSION",
    "MESSAGE_HEADROOM_BYTES",
    "AgentClosedError",
    "Bundle",
    "BundleError",
    "Candidate",
    "Coded",
    "ConfigError",
    "Cut",
    "Encoding",
    "Figures",
    "FileEntry",
    "IsthmusError",
    "Jpeg",
    "LinkError",
    "Manifest",
    "ModelError",
    "PeerError",
    "PictureError",
    "Quantisation",
    "Raw",
    "Segment",
    "SymbolCoder",
    "Symbols",
    "TensorEncoder",
    "TensorSpec",
    "WireError",
    "decode_answer",
    "decode_manifest",
    "decode_tensor",
    "describe_machine",
    "encode_answer",
    "encode_manifest",
    "is_loopback",
    "load_picture",
    "max_frame_bytes",
    "max_payload_bytes",
    "open_bundle",
    "picture_files",
    "requantise_table",
    "sha256_of",
]
