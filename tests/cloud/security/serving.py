"""A service as a process of its own, with short patience: `python -m tests.cloud.security.serving
BUNDLE HELLO_S IDLE_S MAX_CONNECTIONS`."""

import sys
from pathlib import Path

from isthmus_cloud import ServiceConfig, run_service


def announce(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    bundle, hello_s, idle_s, max_connections = sys.argv[1:]
    run_service(
        ServiceConfig(
            bundle=Path(bundle),
            threads=1,
            provider="cpu",
            hello_s=float(hello_s),
            idle_s=float(idle_s),
            max_connections=int(max_connections),
        ),
        announce,
    )
