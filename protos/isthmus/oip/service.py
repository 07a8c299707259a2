"""The core, without a transport: a message in, a message out, or a RefusalError."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from isthmus.errors import IsthmusError
from isthmus.oip import descriptions
from isthmus.oip.codec import quoted
from isthmus.oip.counts import Counts, Limits, Places
from isthmus.oip.messages import pb
from isthmus.oip.model import Model, Models, Reply, Repository
from isthmus.oip.refusal import RefusalError, refusal_of
from isthmus.oip.requests import Work, read_request
from isthmus.oip.responses import respond

READERS = 2  # threads that read numbers which come one by one
ENVELOPE_BYTES = 64  # what a stream puts around a response: a header, and that it is the final one

__all__ = ["Service"]

log = logging.getLogger("isthmus.oip")

_DRAINING = "the server is draining and takes no new requests; try again later"


class Service:
    """What one server answers; used on one event loop.

    `now_s` is the clock of deadlines (`time.monotonic`).
    """

    def __init__(
        self,
        models: Models,
        limits: Limits | None = None,
        now_s: Callable[[], float] = time.monotonic,
        repository: Repository | None = None,
    ) -> None:
        self._repository = repository
        self.limits = limits or Limits()
        self.now_s = now_s
        self.draining = asyncio.Event()
        self.change = asyncio.Event()
        self._models = models
        self._places = Places(self.limits)
        # Of its own, and started when needed: who sends much to read holds up nothing but that.
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="isthmus-oip-read")
        self._counts: defaultdict[str, Counts] = defaultdict(Counts)

    @property
    def is_ready(self) -> bool:
        """Whether there are models and all of them would answer."""
        models = self._models.listed()
        return bool(models) and all(map(self.is_model_ready, models))

    @property
    def most_elements(self) -> int:
        """How many numbers the largest request that some model takes may hold."""
        items = [sum(spec.size for spec in model.inputs) for model in self._models.listed()]
        return self.limits.max_items * max(items, default=0)

    @property
    def under_way(self) -> int:
        """Requests that are being answered, or whose answer its stream has not taken."""
        return self._places.taken

    def caller(self) -> Hashable:
        """Whose call this is, where callers are told apart; None where they are not."""
        return None

    def drain(self) -> None:
        """Take no new requests; those under way are answered. Streams end when theirs are."""
        self.draining.set()
        self.note_change()

    def note_change(self) -> None:
        """Models have come, gone, or changed their readiness: wake who waits for `change`."""
        woken, self.change = self.change, asyncio.Event()
        woken.set()

    def is_model_ready(self, model: Model) -> bool:
        """Whether a request for it that comes now would be answered."""
        return model.is_ready and not self.draining.is_set()

    async def server_live(self, _: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        """It is, since it answers."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, _: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        """See `is_ready`."""
        return pb.ServerReadyResponse(ready=self.is_ready)

    async def model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        """A model that is not known is not ready."""
        try:
            ready = self.is_model_ready(self._model(request.name, request.version))
        except RefusalError:
            ready = False
        return pb.ModelReadyResponse(ready=ready)

    async def server_metadata(self, _: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        """Who answers."""
        return descriptions.server_metadata()

    async def model_metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        """Inputs and outputs of a model."""
        return descriptions.metadata(self._model(request.name, request.version))

    async def model_config(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        """The same as Triton's clients want it."""
        model = self._model(request.name, request.version)
        return descriptions.configuration(model, self.limits.max_items)

    async def model_statistics(
        self, request: pb.ModelStatisticsRequest
    ) -> pb.ModelStatisticsResponse:
        """Of one model, or of all where none is named."""
        if request.name:
            models = [self._model(request.name, request.version)]
        else:
            models = list(self._models.listed())
        stats = [descriptions.statistics(model, self._counts[model.name]) for model in models]
        return pb.ModelStatisticsResponse(model_stats=stats)

    async def repository_index(
        self, request: pb.RepositoryIndexRequest
    ) -> pb.RepositoryIndexResponse:
        """All models, or those that are ready."""
        models = [m for m in self._models.listed() if m.is_ready or not request.ready]
        entries = list(map(descriptions.index_entry, models))
        if self._repository is not None and not request.ready:
            entries += map(descriptions.unloaded_entry, await self._repository.unloaded())
        return pb.RepositoryIndexResponse(models=entries)

    async def repository_model_load(
        self, request: pb.RepositoryModelLoadRequest
    ) -> pb.RepositoryModelLoadResponse:
        """Refused without a repository: who may reach the server may not choose what it runs."""
        await self._loading().load(request.model_name)
        self.note_change()
        return pb.RepositoryModelLoadResponse()

    async def repository_model_unload(
        self, request: pb.RepositoryModelUnloadRequest
    ) -> pb.RepositoryModelUnloadResponse:
        """Refused as loading is."""
        await self._loading().unload(request.model_name)
        self.note_change()
        return pb.RepositoryModelUnloadResponse()

    async def infer(
        self, request: pb.ModelInferRequest, deadline_s: float | None = None
    ) -> pb.ModelInferResponse:
        """The answer to one request; RefusalError says why there is none.

        `deadline_s` is when the client stops waiting, on the clock of `now_s`; its own `timeout`
        may be shorter.
        """
        with ExitStack() as place:
            return await self.infer_in(place, request, deadline_s)

    async def infer_in(
        self,
        place: ExitStack,
        request: pb.ModelInferRequest,
        deadline_s: float | None = None,
        caller: Hashable = None,
    ) -> pb.ModelInferResponse:
        """As `infer`, for who keeps the answer for a while: the request's place, for it and for
        its answer, is given back when `place` is closed; it is `caller`'s, see `Places`."""
        if self.draining.is_set():
            raise RefusalError("UNAVAILABLE", _DRAINING)
        model = self._model(request.model_name, request.model_version)
        counts = self._counts[model.name]
        with counts.request():
            take = place.enter_context(self._places.one(request.ByteSize(), caller))
            try:
                work = await self._read(request, model)
                take(len(work.items) * sum(spec.nbytes for spec in model.outputs))
                replies = await self._answers(model, work, deadline_s)
                response = self._fitting(respond(request, model, work, replies))
            except IsthmusError as error:
                raise refusal_of(error) from error
            except Exception as error:
                log.exception("a request for model %s failed", quoted(model.name))
                raise RefusalError(
                    "INTERNAL", "the server failed to answer; its log says why"
                ) from error
            counts.items += len(replies)
            return response

    async def _read(self, request: pb.ModelInferRequest, model: Model) -> Work:
        """See `read_request`. Raw contents are only looked at; numbers that come one by one are
        copied, which takes tenths of a second for a million of them: not on the loop."""
        most = self.limits.max_items
        if any(tensor.HasField("contents") for tensor in request.inputs):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._readers, read_request, request, model, most)
        return read_request(request, model, most)

    def _loading(self) -> Repository:
        if self._repository is None:
            raise RefusalError("UNIMPLEMENTED", _NO_LOADING)
        return self._repository

    async def _answers(self, model: Model, work: Work, deadline_s: float | None) -> list[Reply]:
        """One reply for each item; if one fails, the others are not waited for."""
        limits = [] if deadline_s is None else [deadline_s]
        if work.timeout_s is not None:
            limits.append(self.now_s() + work.timeout_s)
        until_s = min(limits, default=None)

        if len(work.items) == 1:
            return [await model.infer(work.items[0], work.parameters, until_s)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(_one_of(work, index, model, until_s))
                    for index in range(len(work.items))
                ]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return [task.result() for task in tasks]

    def _fitting(self, response: pb.ModelInferResponse) -> pb.ModelInferResponse:
        """Refused where gRPC would refuse it: there, a stream would end with it."""
        size, limit = response.ByteSize(), self.limits.max_message_bytes
        if size + ENVELOPE_BYTES > limit:
            raise RefusalError(
                "RESOURCE_EXHAUSTED",
                f"the answer takes {size} bytes, messages at most {limit}; ask for fewer items or "
                "outputs at once",
            )
        return response

    def _model(self, name: str, version: str) -> Model:
        """The model that is asked for; without a version any will do."""
        for model in self._models.listed():
            if model.name == name:
                if version and version not in model.versions:
                    break
                return model
        wanted = f"{quoted(name)} version {version[:16]}" if version else quoted(name)
        raise RefusalError("NOT_FOUND", f"Request for unknown model: {wanted} is not found")


async def _one_of(work: Work, index: int, model: Model, until_s: float | None) -> Reply:
    """The answer to one item of several; what it is refused for is told with its number."""
    try:
        return await model.infer(work.items[index], work.parameters, until_s)
    except IsthmusError as error:
        refusal = refusal_of(error)
        where = f"item {index} (of {len(work.items)}, counted from 0)"
        raise RefusalError(refusal.status, f"{where}: {refusal}") from error


_NO_LOADING = (
    "explicit model load / unload is not allowed: what is served is chosen where the server is "
    "started"
)
