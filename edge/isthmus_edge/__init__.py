"""The device's side: heads, link estimate, policy, stream, and an answer to every frame."""

from isthmus_edge.agent import Agent
from isthmus_edge.answer import Answer, Service, Stats, Switch, Timings
from isthmus_edge.audit.verdicts import AuditCount, AuditStats
from isthmus_edge.config import AgentConfig, Objective, Video
from isthmus_edge.device.chain import Chain
from isthmus_edge.device.chains import Chains
from isthmus_edge.device.pace import FullPace, Pace
from isthmus_edge.device.stages import Stages
from isthmus_edge.events import Event, OnEvent
from isthmus_edge.inputs import Inputs
from isthmus_edge.ledger import Ledger
from isthmus_edge.link import LinkEstimate, LinkEstimator
from isthmus_edge.policy.choice import Decision, Goal, Prediction, Situation, decide, predict
from isthmus_edge.policy.rate import Budget, Choice, Demand, RateController, budget
from isthmus_edge.rows import read_rows
from isthmus_edge.stream.credentials import Credentials
from isthmus_edge.stream.transport import (
    Break,
    Connection,
    GrpcTransport,
    OnEnd,
    OnMessage,
    Transport,
)
from isthmus_edge.streaming import Answers, Frames

__all__ = [
    "Agent",
    "AgentConfig",
    "Answer",
    "Answers",
    "AuditCount",
    "AuditStats",
    "Break",
    "Budget",
    "Chain",
    "Chains",
    "Choice",
    "Connection",
    "Credentials",
    "Decision",
    "Demand",
    "Event",
    "Frames",
    "FullPace",
    "Goal",
    "GrpcTransport",
    "Inputs",
    "Ledger",
    "LinkEstimate",
    "LinkEstimator",
    "Objective",
    "OnEnd",
    "OnEvent",
    "OnMessage",
    "Pace",
    "Prediction",
    "RateController",
    "Service",
    "Situation",
    "Stages",
    "Stats",
    "Switch",
    "Timings",
    "Transport",
    "Video",
    "budget",
    "decide",
    "predict",
    "read_rows",
]
