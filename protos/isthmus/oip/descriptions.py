"""What a server says of its models: metadata, Triton's configuration and statistics, the index."""

import isthmus
from isthmus.oip.codec import takes_pictures
from isthmus.oip.counts import Counts
from isthmus.oip.datatypes import config_type_of, datatype_of
from isthmus.oip.messages import pb
from isthmus.oip.model import Model, Unloaded, is_batched
from isthmus.tensors import (
    TensorSpec,
)

PLATFORM = "isthmus"
# Statistics are answered and not announced: where they are, perf_analyzer asks for them and ends on
# versions that are no whole numbers.
EXTENSIONS = ("classification", "model_configuration", "model_repository")

__all__ = [
    "configuration",
    "index_entry",
    "metadata",
    "server_metadata",
    "statistics",
    "unloaded_entry",
]


def server_metadata() -> pb.ServerMetadataResponse:
    """Who answers, and which extensions of the protocol are served."""
    return pb.ServerMetadataResponse(
        name=PLATFORM, version=isthmus.__version__, extensions=EXTENSIONS
    )


def metadata(model: Model) -> pb.ModelMetadataResponse:
    """Inputs and outputs. The batch dimension is -1 where the model takes batches as Triton has
    them, else the shapes are those of a batch of one."""
    batched = is_batched(model)
    return pb.ModelMetadataResponse(
        name=model.name,
        versions=model.versions,
        platform=PLATFORM,
        inputs=[_tensor(spec, batched=batched) for spec in model.inputs],
        outputs=[_tensor(spec, batched=batched) for spec in model.outputs],
    )


def configuration(model: Model, max_items: int) -> pb.ModelConfigResponse:
    """Triton's view of it: `max_batch_size` is `max_items`, and no shape has a batch dimension.

    Where a tensor has none, or has it elsewhere than in front, it is an ordinary dimension, and
    `max_batch_size` is 0.
    """
    batched = is_batched(model)
    config = pb.ModelConfig(
        name=model.name,
        platform=PLATFORM,
        backend=PLATFORM,
        max_batch_size=max_items if batched else 0,
        input=[
            pb.ModelInput(
                name=spec.name,
                data_type=config_type_of(spec.data_type),
                format=_format_of(spec, batched=batched),
                dims=spec.shape if batched else spec.graph_shape,
            )
            for spec in model.inputs
        ],
        output=[
            pb.ModelOutput(
                name=spec.name,
                data_type=config_type_of(spec.data_type),
                dims=spec.shape if batched else spec.graph_shape,
            )
            for spec in model.outputs
        ],
    )
    return pb.ModelConfigResponse(config=config)


def statistics(model: Model, counts: Counts) -> pb.ModelStatistics:
    """What has been answered and refused so far; times are those from request to response."""
    done = pb.StatisticDuration(count=counts.answered, ns=counts.answered_ns)
    return pb.ModelStatistics(
        name=model.name,
        version=model.versions[-1],
        last_inference=counts.last_ms,
        inference_count=counts.items,
        execution_count=counts.items,
        inference_stats=pb.InferStatistics(
            success=done,
            fail=pb.StatisticDuration(count=counts.failed, ns=counts.failed_ns),
            queue=pb.StatisticDuration(count=counts.answered),
            compute_input=pb.StatisticDuration(count=counts.answered),
            compute_infer=done,
            compute_output=pb.StatisticDuration(count=counts.answered),
        ),
    )


def index_entry(model: Model) -> pb.RepositoryIndexResponse.ModelIndex:
    """One line of the list of models."""
    state = "READY" if model.is_ready else "UNAVAILABLE"
    return pb.RepositoryIndexResponse.ModelIndex(
        name=model.name, version=model.versions[-1], state=state
    )


def unloaded_entry(model: Unloaded) -> pb.RepositoryIndexResponse.ModelIndex:
    """One line of the list, of a model that is not served."""
    return pb.RepositoryIndexResponse.ModelIndex(
        name=model.name, version=model.version, state="UNAVAILABLE", reason=model.reason
    )


def _tensor(spec: TensorSpec, *, batched: bool) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=spec.name,
        datatype=datatype_of(spec.data_type).name,
        shape=(-1, *spec.shape) if batched else spec.graph_shape,
    )


def _format_of(spec: TensorSpec, *, batched: bool) -> str:
    """Triton has pictures of three dimensions only, beside the batch's."""
    is_picture = takes_pictures(spec) and (batched or spec.batch_axis is None)
    return "FORMAT_NHWC" if is_picture else "FORMAT_NONE"
