"""The gRPC face of the model store for devices; see isthmus/v1/store.proto."""

import asyncio
from typing import Any

import grpc

from isthmus.v1 import store_pb2 as pb
from isthmus.v1.store_pb2_grpc import BundlesServicer
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.faces.callers import Refused, caller_of
from isthmus_cloud.faces.refusals import Places, refusing
from isthmus_cloud.security.asked import ASKED_BY
from isthmus_cloud.security.identity import Guard
from isthmus_cloud.store import Deployer, Halves, Shelves

PIECE_BYTES = 256 * 1024
MOST_FETCHES = 64  # over all devices: one that is sent away comes back
IDLE_S = 60.0  # a device that takes no piece for so long is not there any more

Context = grpc.aio.ServicerContext[Any, Any]

__all__ = ["PIECE_BYTES", "BundleService"]


class BundleService(BundlesServicer):
    """Tells devices which version is the active one, and hands them their half of it."""

    def __init__(
        self,
        shelves: Shelves,
        deployer: Deployer,
        guard: Guard,
        disk: DiskThreads,
        refused: Refused,
    ) -> None:
        self._root = shelves.root
        self._halves = Halves(shelves)
        self._deployer = deployer
        self._guard = guard
        self._disk = disk
        self._refused = refused
        self._places = Places(MOST_FETCHES, "calls of devices that fetch a bundle")

    async def Current(  # noqa: N802 - the names that the contract gives the calls
        self, request: pb.CurrentRequest, context: Context
    ) -> pb.CurrentReply:
        """The active version; with its manifest, unless the device holds that bundle."""
        async with refusing(context, self._root, "current", self._refused):
            ASKED_BY.set(self._guard.admit(caller_of(context), "device").name)
            with self._places.one():
                reply = await self._current(request.model, request.fingerprint)
        return reply

    async def Fetch(self, request: pb.FetchRequest, context: Context) -> None:  # noqa: N802
        """One file from an offset on, a piece at a time."""
        async with refusing(context, self._root, "fetch", self._refused):
            ASKED_BY.set(self._guard.admit(caller_of(context), "device").name)
            with self._places.one():
                await self._fetch(request, context)

    async def _current(self, model: str, held: str) -> pb.CurrentReply:
        deployed = self._deployer.deployed()
        current = await self._disk(self._halves.current, model, held, deployed)
        bundle = current.bundle
        reply = pb.CurrentReply(
            name=current.name, version=current.version, fingerprint=bundle.fingerprint
        )
        if bundle.fingerprint != held:
            signature = await self._disk(bundle.signature)
            reply.manifest, reply.signature = bundle.data, signature or b""
        return reply

    async def _fetch(self, request: pb.FetchRequest, context: Context) -> None:
        deployed = self._deployer.deployed()
        opened = self._disk.opened(
            self._halves.open, request.fingerprint, request.path, request.offset, deployed
        )
        async with opened as file:
            while data := await self._disk(file.read, PIECE_BYTES):
                async with asyncio.timeout(IDLE_S):
                    await context.write(pb.FilePiece(data=data))
