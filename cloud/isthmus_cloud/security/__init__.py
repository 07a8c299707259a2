"""Who may come in, and how much of the service each may take."""

from isthmus_cloud.security.identity import ANYBODY, Caller, DeniedError, Guard, Identity, OpenDoor

__all__ = ["ANYBODY", "Caller", "DeniedError", "Guard", "Identity", "OpenDoor"]
