"""What systemd is told: sd_notify(3) is one datagram, so no library is needed for it."""

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger("isthmus.daemon")

__all__ = ["Notifier"]


class Notifier:
    """Speaks to the service manager that started this process; silent where there is none."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog_s = _watchdog_s(environment)

    @property
    def watchdog_s(self) -> float | None:
        """How often to call `alive`: half of what the manager waits for it; None if it does not."""
        return self._watchdog_s if self._address else None

    def ready(self, status: str) -> None:
        """Started, or reloaded."""
        self._say("READY=1", f"STATUS={status}")

    def waiting(self, status: str, further_s: float) -> None:
        """It goes on starting, and may take so much longer from now on."""
        self._say(f"EXTEND_TIMEOUT_USEC={int(further_s * 1e6)}", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it, whether it worked or not."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """The end begins."""
        self._say("STOPPING=1", f"STATUS={status}")

    def alive(self, status: str) -> None:
        """Nothing hangs."""
        self._say("WATCHDOG=1", f"STATUS={status}")

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        # "@" stands for the null byte that an abstract address begins with: sd_notify(3).
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        message = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
                way.settimeout(1.0)
                way.sendto(message.encode(), address)
        except OSError as error:
            log.warning("the service manager at %s cannot be told: %s", self._address, error)


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Half of WATCHDOG_USEC, if it is meant for this process: sd_watchdog_enabled(3)."""
    usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID")
    if not usec.isdigit() or int(usec) == 0 or (pid is not None and pid != str(os.getpid())):
        return None
    return int(usec) / 1e6 / 2
