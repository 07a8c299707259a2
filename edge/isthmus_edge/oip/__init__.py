"""The device's local endpoint: an agent behind the Open Inference Protocol."""

from isthmus.oip import Limits
from isthmus_edge.oip.config import EndpointConfig
from isthmus_edge.oip.endpoint import Endpoint
from isthmus_edge.oip.model import AgentLike

__all__ = ["AgentLike", "Endpoint", "EndpointConfig", "Limits"]
