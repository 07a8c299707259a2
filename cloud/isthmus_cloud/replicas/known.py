"""Which replicas a deployment has, as Ray Serve's router in this process learns of them."""

import threading

__all__ = ["Known", "known"]

_LOCK = threading.Lock()
_ALL: "dict[tuple[str, str], Known]" = {}


class Known:
    """The ids of those that run; read and replaced from any thread."""

    def __init__(self) -> None:
        self.replicas: frozenset[str] = frozenset()


def known(application: str, deployment: str) -> Known:
    """Those of one deployment: the same object for whoever asks."""
    with _LOCK:
        return _ALL.setdefault((application, deployment), Known())
