"""The contract that device and cloud share: messages, wire codec, bundle manifest, error tree."""

import os

from isthmus.addresses import is_loopback
from isthmus.answers import answer_bytes, decode_answer, encode_answer, left_to_answer
from isthmus.bundle import Bundle, open_bundle
from isthmus.errors import (
    AgentClosedError,
    BundleError,
    ConfigError,
    IsthmusError,
    KeyFrameNeededError,
    LinkError,
    ModelError,
    PeerError,
    PictureError,
    QueueFullError,
    SessionError,
    StaleFrameError,
    WireError,
)
from isthmus.files import check_file, sha256_of
from isthmus.frames import (
    MESSAGE_HEADROOM_BYTES,
    FrameEncoder,
    Kept,
    decode_frame,
    max_candidate_bytes,
    max_frame_bytes,
    max_payload_bytes,
    require_formats,
)
from isthmus.kernels import kernels_of
from isthmus.machine import describe_machine
from isthmus.manifest import (
    FORMAT_VERSION,
    UNMEASURED,
    Candidate,
    Chain,
    Cut,
    CutTensor,
    Figures,
    FileEntry,
    Manifest,
    Rung,
    RuntimeName,
    Segment,
    Stage,
    TfliteForm,
)
from isthmus.manifest_file import decode_manifest, encode_manifest
from isthmus.picture_files import load_picture, picture_files
from isthmus.profiles import (
    DeviceProfile,
    KernelTime,
    NetworkTimes,
    PrefixTime,
    decode_profile,
    encode_profile,
    open_profile,
)
from isthmus.scene import HOLD, Held
from isthmus.stages import ReadyStage, open_stage, quantised, write_projection
from isthmus.symbols import Coded, SymbolCoder
from isthmus.tables import requantise_table
from isthmus.tensors import (
    DataType,
    Encoding,
    Levels,
    Lossless,
    Picture,
    PictureFormat,
    Predictor,
    Quantisation,
    Raw,
    Symbols,
    TensorSpec,
)

__version__ = "0.1.0"

# ONNX Runtime reads this when it loads: from 1.29 on it reports to its makers unless told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "FORMAT_VERSION",
    "HOLD",
    "MESSAGE_HEADROOM_BYTES",
    "UNMEASURED",
    "AgentClosedError",
    "Bundle",
    "BundleError",
    "Candidate",
    "Chain",
    "Coded",
    "ConfigError",
    "Cut",
    "CutTensor",
    "DataType",
    "DeviceProfile",
    "Encoding",
    "Figures",
    "FileEntry",
    "FrameEncoder",
    "Held",
    "IsthmusError",
    "Kept",
    "KernelTime",
    "KeyFrameNeededError",
    "Levels",
    "LinkError",
    "Lossless",
    "Manifest",
    "ModelError",
    "NetworkTimes",
    "PeerError",
    "Picture",
    "PictureError",
    "PictureFormat",
    "Predictor",
    "PrefixTime",
    "Quantisation",
    "QueueFullError",
    "Raw",
    "ReadyStage",
    "Rung",
    "RuntimeName",
    "Segment",
    "SessionError",
    "Stage",
    "StaleFrameError",
    "SymbolCoder",
    "Symbols",
    "TensorSpec",
    "TfliteForm",
    "WireError",
    "answer_bytes",
    "check_file",
    "decode_answer",
    "decode_frame",
    "decode_manifest",
    "decode_profile",
    "describe_machine",
    "encode_answer",
    "encode_manifest",
    "encode_profile",
    "is_loopback",
    "kernels_of",
    "left_to_answer",
    "load_picture",
    "max_candidate_bytes",
    "max_frame_bytes",
    "max_payload_bytes",
    "open_bundle",
    "open_profile",
    "open_stage",
    "picture_files",
    "quantised",
    "requantise_table",
    "require_formats",
    "sha256_of",
    "write_projection",
]
