"""The deployments as models of the Open Inference Protocol: whole, from the inputs on."""

from collections.abc import Mapping, Sequence

from isthmus import TensorSpec
from isthmus.oip import Parameter, RefusalError, Reply, Tensor
from isthmus_cloud.answering.budget import OverloadedError
from isthmus_cloud.answering.jobs import NEVER_NS, TooLateError
from isthmus_cloud.deployments.deployment import Deployment
from isthmus_cloud.deployments.deployments import Deployments

__all__ = ["ServedModels", "WholeModel"]


class WholeModel:
    """One version of one model; its items wait in the same queue as frames, and run with them."""

    def __init__(self, deployment: Deployment, versions: Sequence[str]) -> None:
        self._deployment = deployment
        self._versions = tuple(versions)

    @property
    def name(self) -> str:
        """See `Model`."""
        return self._deployment.name

    @property
    def versions(self) -> tuple[str, ...]:
        """See `Model`."""
        return self._versions

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
        deadline_ns = NEVER_NS if deadline_s is None else int(deadline_s * 1e9)
        try:
            job = await self._deployment.answerer.item(tensors, deadline_ns)
        except OverloadedError as error:
            raise RefusalError("UNAVAILABLE", f"Exceeds maximum queue size: {error}") from error
        except TooLateError as error:
            raise RefusalError("UNAVAILABLE", str(error)) from error
        told: dict[str, Parameter] = {
            "isthmus.version": self._deployment.version,
            "isthmus.batch": job.batch,
            "isthmus.queue_ms": (job.begun_ns - job.received_ns) / 1e6,
            "isthmus.run_ms": job.run_ms,
        }
        return Reply(job.outputs, told, self._deployment.bundle.labels)


class ServedModels:
    """The `Models` of a service: the active versions of all models that it holds whole."""

    def __init__(self, deployments: Deployments) -> None:
        self._deployments = deployments

    def listed(self) -> Sequence[WholeModel]:
        """See `Models.listed`."""
        whole = [each for each in self._deployments.active if each.answerer.takes_items]
        return [WholeModel(each, (each.version,)) for each in whole]
