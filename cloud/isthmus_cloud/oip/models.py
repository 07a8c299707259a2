"""The deployments as models of the Open Inference Protocol: whole, from the inputs on."""

import logging
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar

from isthmus import ModelError, TensorSpec
from isthmus.oip import Parameter, RefusalError, Reply, Tensor
from isthmus_cloud.answering.budget import OverloadedError
from isthmus_cloud.answering.jobs import NEVER_NS, Job, TooLateError
from isthmus_cloud.deployments.deployment import Deployment
from isthmus_cloud.deployments.deployments import Deployments
from isthmus_cloud.oip.counted import Asker, item_done

# Whose request it is: set by the face for each call.
CALLER: ContextVar[Asker | None] = ContextVar("caller", default=None)

__all__ = ["CALLER", "ServedModels", "WholeModel"]

_logger = logging.getLogger(__name__)


class WholeModel:
    """One version of one model; its items wait in the same queue as frames, and run with them."""

    def __init__(self, deployment: Deployment, deployments: Deployments) -> None:
        self._deployment = deployment
        self._deployments = deployments

    @property
    def name(self) -> str:
        """See `Model`."""
        return self._deployment.name

    @property
    def versions(self) -> tuple[str, ...]:
        """See `Model`."""
        return (self._deployment.version,)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """See `Model`."""
        return self._deployment.bundle.manifest.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See `Model`."""
        return self._deployment.bundle.manifest.outputs

    @property
    def is_ready(self) -> bool:
        """Its tails are loaded when it is there."""
        return True

    async def infer(
        self,
        tensors: Mapping[str, Tensor],
        parameters: Mapping[str, Parameter],
        deadline_s: float | None,
    ) -> Reply:
        """See `Model`; parameters say which version answered, and in how large a batch."""
        self._deployments.take(self._deployment)  # or it might retire while the item waits
        try:
            job = await self._run(tensors, deadline_s)
        finally:
            self._deployments.give_back(self._deployment)
        told: dict[str, Parameter] = {
            "isthmus.version": self._deployment.version,
            "isthmus.batch": job.batch,
            "isthmus.queue_ms": (job.begun_ns - job.received_ns) / 1e6,
            "isthmus.run_ms": job.run_ms,
        }
        return Reply(job.outputs, told, self._deployment.bundle.labels)

    async def _run(self, tensors: Mapping[str, Tensor], deadline_s: float | None) -> Job:
        try:
            return await self._counted(tensors, deadline_s)
        except OverloadedError as error:
            raise RefusalError("UNAVAILABLE", f"Exceeds maximum queue size: {error}") from error
        except TooLateError as error:
            raise RefusalError("UNAVAILABLE", str(error)) from error
        except ModelError as error:  # its text is about the inside
            _logger.error("model %s %s: %s", self.name, self._deployment.version, error)
            raise RefusalError("INTERNAL", "the model failed on this item") from error

    async def _counted(self, tensors: Mapping[str, Tensor], deadline_s: float | None) -> Job:
        """Run it, and tell the observer how it ended."""
        deployment, asker = self._deployment, CALLER.get()
        client = None if asker is None else asker.client
        deadline_ns = NEVER_NS if deadline_s is None else int(deadline_s * 1e9)
        received_ns = time.monotonic_ns()
        ended: Job | BaseException
        try:
            ended = await deployment.answerer.item(tensors, deadline_ns, client)
        except BaseException as error:
            ended = error
            raise
        finally:
            done = item_done(deployment, asker, tensors, received_ns, ended)
            self._deployments.observer.note(done)
        return ended


class ServedModels:
    """The `Models` of a service: the active versions of all models that it holds whole."""

    def __init__(self, deployments: Deployments) -> None:
        self._deployments = deployments

    def listed(self) -> Sequence[WholeModel]:
        """See `Models.listed`."""
        whole = [each for each in self._deployments.active if each.answerer.takes_items]
        return [WholeModel(each, self._deployments) for each in whole]
