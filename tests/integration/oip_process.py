"""A real agent behind the Open Inference Protocol, in a process of its own.

    python -m tests.integration.oip_process BUNDLE ADDRESS…

Prints "listening on ADDRESS…" with real ports. SIGTERM: it drains and says "stopped".
"""

import asyncio
import signal
import sys
from pathlib import Path

from isthmus_edge import Agent, AgentConfig
from isthmus_edge.oip import Endpoint, EndpointConfig

READY, STOPPED = "listening on ", "stopped"

__all__ = ["READY", "STOPPED"]


async def _serve(bundle: Path, listen: tuple[str, ...]) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with (
        Agent.open(AgentConfig(bundle=bundle, heed_vitals=False)) as agent,
        Endpoint(EndpointConfig(listen=listen), agent) as endpoint,
    ):
        print(READY, *endpoint.addresses, flush=True)  # noqa: T201 - read by the test
        await told.wait()
    print(STOPPED, flush=True)  # noqa: T201 - read by the test


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), tuple(sys.argv[2:])))
