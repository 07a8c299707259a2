"""What a server says of its models: metadata, Triton's configuration and statistics, the index."""

import isthmus
from isthmus.oip.counts import Counts
from isthmus.oip.datatypes import config_type_of, datatype_of
from isthmus.oip.messages import pb
from isthmus.oip.model import Model
from isthmus.tensors import (
    TensorSpec,
)

PLATFORM = "isthmus"
EXTENSIONS = ("classification", "model_configuration", "model_repository", "statistics")

__all__ = ["configuration", "index_entry", "metadata", "server_metadata", "statistics"]


def server_metadata() -> pb.ServerMetadataResponse:
    """Who answers, and which extensions of the protocol are served."""
    return pb.ServerMetadataResponse(
        name=PLATFORM, version=isthmus.__version__, extensions=EXTENSIONS
    )


def metadata(model: Model) -> pb.ModelMetadataResponse:
    """Inputs and outputs, with the shapes of a batch of one."""
    return pb.ModelMetadataResponse(
        name=model.name,
        versions=model.versions,
        platform=PLATFORM,
        inputs=[_tensor(spec) for spec in model.inputs],
        outputs=[_tensor(spec) for spec in model.outputs],
    )


def configuration(model: Model) -> pb.ModelConfigResponse:
    """Triton's view of it: the batch dimension is an ordinary one (`max_batch_size` is 0)."""
    config = pb.ModelConfig(
        name=model.name,
        platform=PLATFORM,
        backend=PLATFORM,
        max_batch_size=0,
        input=[
            pb.ModelInput(
                name=spec.name, data_type=config_type_of(spec.data_type), dims=spec.graph_shape
            )
            for spec in model.inputs
        ],
        output=[
            pb.ModelOutput(
                name=spec.name, data_type=config_type_of(spec.data_type), dims=spec.graph_shape
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


def _tensor(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=datatype_of(spec.data_type).name, shape=spec.graph_shape
    )
