"""Who may come in, and how much of the service each may take."""

from isthmus_cloud.security.doors import guarded
from isthmus_cloud.security.guards import CertificateGuard, DeviceDoor, TokenGuard
from isthmus_cloud.security.identity import ANYBODY, Caller, DeniedError, Guard, Identity, OpenDoor

__all__ = [
    "ANYBODY",
    "Caller",
    "CertificateGuard",
    "DeniedError",
    "DeviceDoor",
    "Guard",
    "Identity",
    "OpenDoor",
    "TokenGuard",
    "guarded",
]
