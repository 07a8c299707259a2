"""The lower bound: a `grpc.aio` loop around ONNX Runtime, nothing else.

Raw symbols come up a bidirectional stream, the tail runs as one graph in a thread, and its raw
outputs go back. No session, no codec, no check, no limit.

    python -m isthmus_bench.serve.bare --spec tail.json --threads 2
"""

import argparse
import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import grpc

from isthmus_bench.serve.tails import Tail, load_spec

SERVICE, METHOD = "isthmus.bench.Bare", "Run"

_Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"

__all__ = ["METHOD", "SERVICE", "main"]


def main() -> None:
    """Serve until SIGTERM or SIGINT; prints one line when devices may come."""
    parser = argparse.ArgumentParser(description="A bare grpc.aio loop around ONNX Runtime.")
    parser.add_argument("--spec", required=True, help="file of a TailSpec")
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    spec = load_spec(options.spec)
    asyncio.run(_serve(Tail(spec, [spec.whole], options.threads)))


async def _serve(tail: Tail) -> None:
    server = grpc.aio.server()
    with ThreadPoolExecutor(1, thread_name_prefix="tail") as pool:
        handler: _Handler = grpc.stream_stream_rpc_method_handler(_loop_around(tail, pool))
        service = grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(f"listening on 127.0.0.1:{port}", flush=True)  # noqa: T201 - its parent reads it
        told = asyncio.Event()
        for kind in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(kind, told.set)
        await told.wait()
        await server.stop(None)


def _loop_around(
    tail: Tail, pool: ThreadPoolExecutor
) -> Callable[[AsyncIterator[bytes], object], AsyncIterator[bytes]]:
    loop = asyncio.get_running_loop()

    async def run(messages: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
        async for message in messages:
            yield await loop.run_in_executor(pool, tail.answer, message)

    return run


if __name__ == "__main__":
    main()
