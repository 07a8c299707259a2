from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_UNSPECIFIED: _ClassVar[Encoding]
    ENCODING_RAW: _ClassVar[Encoding]
    ENCODING_TOP_K: _ClassVar[Encoding]

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    DATA_TYPE_UINT8: _ClassVar[DataType]
    DATA_TYPE_FLOAT32: _ClassVar[DataType]
    DATA_TYPE_INT64: _ClassVar[DataType]
    DATA_TYPE_BOOL: _ClassVar[DataType]
    DATA_TYPE_INT8: _ClassVar[DataType]
    DATA_TYPE_INT32: _ClassVar[DataType]
    DATA_TYPE_FLOAT16: _ClassVar[DataType]
    DATA_TYPE_FLOAT64: _ClassVar[DataType]

class Packing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PACKING_BYTES: _ClassVar[Packing]
    PACKING_PAIRS: _ClassVar[Packing]
    PACKING_MASK: _ClassVar[Packing]

class ErrorCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_CODE_UNSPECIFIED: _ClassVar[ErrorCode]
    ERROR_CODE_PROTOCOL: _ClassVar[ErrorCode]
    ERROR_CODE_BUNDLE_MISMATCH: _ClassVar[ErrorCode]
    ERROR_CODE_UNKNOWN_CANDIDATE: _ClassVar[ErrorCode]
    ERROR_CODE_BAD_FRAME: _ClassVar[ErrorCode]
    ERROR_CODE_OVERLOADED: _ClassVar[ErrorCode]
    ERROR_CODE_DRAINING: _ClassVar[ErrorCode]
    ERROR_CODE_INTERNAL: _ClassVar[ErrorCode]
    ERROR_CODE_KEY_FRAME_NEEDED: _ClassVar[ErrorCode]
    ERROR_CODE_CANCELLED: _ClassVar[ErrorCode]
    ERROR_CODE_TOO_LATE: _ClassVar[ErrorCode]
    ERROR_CODE_SUPERSEDED: _ClassVar[ErrorCode]
    ERROR_CODE_IDLE: _ClassVar[ErrorCode]
    ERROR_CODE_DENIED: _ClassVar[ErrorCode]
ENCODING_UNSPECIFIED: Encoding
ENCODING_RAW: Encoding
ENCODING_TOP_K: Encoding
DATA_TYPE_UNSPECIFIED: DataType
DATA_TYPE_UINT8: DataType
DATA_TYPE_FLOAT32: DataType
DATA_TYPE_INT64: DataType
DATA_TYPE_BOOL: DataType
DATA_TYPE_INT8: DataType
DATA_TYPE_INT32: DataType
DATA_TYPE_FLOAT16: DataType
DATA_TYPE_FLOAT64: DataType
PACKING_BYTES: Packing
PACKING_PAIRS: Packing
PACKING_MASK: Packing
ERROR_CODE_UNSPECIFIED: ErrorCode
ERROR_CODE_PROTOCOL: ErrorCode
ERROR_CODE_BUNDLE_MISMATCH: ErrorCode
ERROR_CODE_UNKNOWN_CANDIDATE: ErrorCode
ERROR_CODE_BAD_FRAME: ErrorCode
ERROR_CODE_OVERLOADED: ErrorCode
ERROR_CODE_DRAINING: ErrorCode
ERROR_CODE_INTERNAL: ErrorCode
ERROR_CODE_KEY_FRAME_NEEDED: ErrorCode
ERROR_CODE_CANCELLED: ErrorCode
ERROR_CODE_TOO_LATE: ErrorCode
ERROR_CODE_SUPERSEDED: ErrorCode
ERROR_CODE_IDLE: ErrorCode
ERROR_CODE_DENIED: ErrorCode

class EdgeMessage(_message.Message):
    __slots__ = ("hello", "frame", "heartbeat", "cancel", "audit")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    frame: Frame
    heartbeat: Heartbeat
    cancel: Cancel
    audit: Audit
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., audit: _Optional[_Union[Audit, _Mapping]] = ...) -> None: ...

class CloudMessage(_message.Message):
    __slots__ = ("welcome", "result", "heartbeat", "error", "load", "drain", "verdict", "update")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    result: Result
    heartbeat: Heartbeat
    error: Error
    load: Load
    drain: Drain
    verdict: Verdict
    update: Update
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., result: _Optional[_Union[Result, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., load: _Optional[_Union[Load, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., verdict: _Optional[_Union[Verdict, _Mapping]] = ..., update: _Optional[_Union[Update, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "session_id", "bundle_fingerprint", "answer_top_k", "unanswered", "stream", "look")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    ANSWER_TOP_K_FIELD_NUMBER: _ClassVar[int]
    UNANSWERED_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    LOOK_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    session_id: str
    bundle_fingerprint: str
    answer_top_k: int
    unanswered: _containers.RepeatedScalarFieldContainer[int]
    stream: int
    look: bool
    def __init__(self, protocol: _Optional[int] = ..., session_id: _Optional[str] = ..., bundle_fingerprint: _Optional[str] = ..., answer_top_k: _Optional[int] = ..., unanswered: _Optional[_Iterable[int]] = ..., stream: _Optional[int] = ..., look: bool = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol", "bundle_fingerprint", "window", "max_frame_bytes", "provider", "load", "held", "beat_ms", "model", "version")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    BEAT_MS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    bundle_fingerprint: str
    window: int
    max_frame_bytes: int
    provider: str
    load: Load
    held: _containers.RepeatedScalarFieldContainer[int]
    beat_ms: int
    model: str
    version: str
    def __init__(self, protocol: _Optional[int] = ..., bundle_fingerprint: _Optional[str] = ..., window: _Optional[int] = ..., max_frame_bytes: _Optional[int] = ..., provider: _Optional[str] = ..., load: _Optional[_Union[Load, _Mapping]] = ..., held: _Optional[_Iterable[int]] = ..., beat_ms: _Optional[int] = ..., model: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("name", "data_type", "shape", "encoding", "payload", "top_k")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    name: str
    data_type: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    encoding: Encoding
    payload: bytes
    top_k: int
    def __init__(self, name: _Optional[str] = ..., data_type: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., payload: _Optional[bytes] = ..., top_k: _Optional[int] = ...) -> None: ...

class Payload(_message.Message):
    __slots__ = ("data", "packing", "stored", "mask_bytes")
    DATA_FIELD_NUMBER: _ClassVar[int]
    PACKING_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    MASK_BYTES_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    packing: Packing
    stored: bool
    mask_bytes: int
    def __init__(self, data: _Optional[bytes] = ..., packing: _Optional[_Union[Packing, str]] = ..., stored: bool = ..., mask_bytes: _Optional[int] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("sequence", "candidate", "rung", "payloads", "reference", "mark", "deadline_ms", "settled_through", "again", "audited", "traceparent")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    RUNG_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    SETTLED_THROUGH_FIELD_NUMBER: _ClassVar[int]
    AGAIN_FIELD_NUMBER: _ClassVar[int]
    AUDITED_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    candidate: str
    rung: int
    payloads: _containers.RepeatedCompositeFieldContainer[Payload]
    reference: int
    mark: int
    deadline_ms: int
    settled_through: int
    again: bool
    audited: bool
    traceparent: str
    def __init__(self, sequence: _Optional[int] = ..., candidate: _Optional[str] = ..., rung: _Optional[int] = ..., payloads: _Optional[_Iterable[_Union[Payload, _Mapping]]] = ..., reference: _Optional[int] = ..., mark: _Optional[int] = ..., deadline_ms: _Optional[int] = ..., settled_through: _Optional[int] = ..., again: bool = ..., audited: bool = ..., traceparent: _Optional[str] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("sequences",)
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    sequences: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sequences: _Optional[_Iterable[int]] = ...) -> None: ...

class Audit(_message.Message):
    __slots__ = ("sequence", "input")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    input: Frame
    def __init__(self, sequence: _Optional[int] = ..., input: _Optional[_Union[Frame, _Mapping]] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("sequence", "compared", "agrees", "divergence", "reason")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    AGREES_FIELD_NUMBER: _ClassVar[int]
    DIVERGENCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    compared: bool
    agrees: bool
    divergence: float
    reason: str
    def __init__(self, sequence: _Optional[int] = ..., compared: bool = ..., agrees: bool = ..., divergence: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("sequence", "outputs", "timing", "load")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    outputs: _containers.RepeatedCompositeFieldContainer[Tensor]
    timing: Timing
    load: Load
    def __init__(self, sequence: _Optional[int] = ..., outputs: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., load: _Optional[_Union[Load, _Mapping]] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("received_ns", "queue_ms", "decode_ms", "run_ms", "total_ms", "batch")
    RECEIVED_NS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    RUN_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    received_ns: int
    queue_ms: float
    decode_ms: float
    run_ms: float
    total_ms: float
    batch: int
    def __init__(self, received_ns: _Optional[int] = ..., queue_ms: _Optional[float] = ..., decode_ms: _Optional[float] = ..., run_ms: _Optional[float] = ..., total_ms: _Optional[float] = ..., batch: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("id", "padding", "received_ns", "answered_ns", "settled_through", "answer_bytes", "link", "load")
    ID_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_NS_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_NS_FIELD_NUMBER: _ClassVar[int]
    SETTLED_THROUGH_FIELD_NUMBER: _ClassVar[int]
    ANSWER_BYTES_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    id: int
    padding: bytes
    received_ns: int
    answered_ns: int
    settled_through: int
    answer_bytes: int
    link: LinkReport
    load: Load
    def __init__(self, id: _Optional[int] = ..., padding: _Optional[bytes] = ..., received_ns: _Optional[int] = ..., answered_ns: _Optional[int] = ..., settled_through: _Optional[int] = ..., answer_bytes: _Optional[int] = ..., link: _Optional[_Union[LinkReport, _Mapping]] = ..., load: _Optional[_Union[Load, _Mapping]] = ...) -> None: ...

class LinkReport(_message.Message):
    __slots__ = ("bandwidth_bps", "rtt_ms")
    BANDWIDTH_BPS_FIELD_NUMBER: _ClassVar[int]
    RTT_MS_FIELD_NUMBER: _ClassVar[int]
    bandwidth_bps: float
    rtt_ms: float
    def __init__(self, bandwidth_bps: _Optional[float] = ..., rtt_ms: _Optional[float] = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("frames_waiting", "queue_ms", "streams")
    FRAMES_WAITING_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    frames_waiting: int
    queue_ms: float
    streams: int
    def __init__(self, frames_waiting: _Optional[int] = ..., queue_ms: _Optional[float] = ..., streams: _Optional[int] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("model", "version", "bundle_fingerprint")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    bundle_fingerprint: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., bundle_fingerprint: _Optional[str] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("grace_ms",)
    GRACE_MS_FIELD_NUMBER: _ClassVar[int]
    grace_ms: int
    def __init__(self, grace_ms: _Optional[int] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("sequence", "code", "message", "received_ns", "retry_after_ms")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_NS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    code: ErrorCode
    message: str
    received_ns: int
    retry_after_ms: int
    def __init__(self, sequence: _Optional[int] = ..., code: _Optional[_Union[ErrorCode, str]] = ..., message: _Optional[str] = ..., received_ns: _Optional[int] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...
