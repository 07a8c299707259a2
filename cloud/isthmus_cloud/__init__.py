"""The cloud half: a service that runs the tails of bundles for many devices."""

from isthmus_cloud.answering.answerer import Answerer, UnknownCandidateError
from isthmus_cloud.answering.budget import OverloadedError
from isthmus_cloud.answering.desk import Desk, DeskLimits
from isthmus_cloud.answering.jobs import TooLateError
from isthmus_cloud.answering.memory import StreamMemory
from isthmus_cloud.answering.workers import Batching
from isthmus_cloud.audits.auditing import Auditor
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.core import Core
from isthmus_cloud.deployments.deployment import Deployment, deployed
from isthmus_cloud.deployments.loading import load_tails
from isthmus_cloud.server import RunningService, listening, run_service, serve

__all__ = [
    "Answerer",
    "Auditor",
    "Batching",
    "Core",
    "Deployment",
    "Desk",
    "DeskLimits",
    "OverloadedError",
    "RunningService",
    "ServiceConfig",
    "StreamMemory",
    "TooLateError",
    "UnknownCandidateError",
    "deployed",
    "listening",
    "load_tails",
    "run_service",
    "serve",
]
