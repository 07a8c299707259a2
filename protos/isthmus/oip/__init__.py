"""The Open Inference Protocol (KServe v2 over gRPC, with Triton's stream): one core for both sides.

Device and cloud hand it a `Models`; `make_server` gives the gRPC server. Messages live in a private
descriptor pool (`messages.py`), so that users may import Triton's client beside us.
"""

from isthmus.oip.codec import takes_pictures
from isthmus.oip.counts import Limits
from isthmus.oip.model import Model, Models, Parameter, Reply, Tensor
from isthmus.oip.refusal import RefusalError
from isthmus.oip.server import make_server, server_options
from isthmus.oip.service import Service

__all__ = [
    "Limits",
    "Model",
    "Models",
    "Parameter",
    "RefusalError",
    "Reply",
    "Service",
    "Tensor",
    "make_server",
    "server_options",
    "takes_pictures",
]
