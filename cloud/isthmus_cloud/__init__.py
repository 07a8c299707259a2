"""The cloud half: a gRPC service that runs the tails of one bundle for many devices."""

from isthmus_cloud.answering.answerer import Answerer, TooLateError, UnknownCandidateError
from isthmus_cloud.answering.budget import OverloadedError
from isthmus_cloud.answering.memory import StreamMemory
from isthmus_cloud.audits.auditing import Auditor
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.engines.onnx_runtime import OnnxTail, TailEngine, load_tails
from isthmus_cloud.server import RunningService, listening, run_service, serve

__all__ = [
    "Answerer",
    "Auditor",
    "OnnxTail",
    "OverloadedError",
    "RunningService",
    "ServiceConfig",
    "StreamMemory",
    "TailEngine",
    "TooLateError",
    "UnknownCandidateError",
    "listening",
    "load_tails",
    "run_service",
    "serve",
]
