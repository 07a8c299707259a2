"""Ranges of the activations, collected once and used by every quantised variant."""

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, TensorsData
from onnxruntime.quantization.calibrate import PercentileCalibrater

from isthmus_partitioner.config import UInt8Array
from isthmus_partitioner.cuts.one_tensor import tensor_shapes
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import used_by

__all__ = ["Ranges", "calibrate", "tensors_data"]

Ranges = Mapping[str, tuple[float, float]]  # by tensor: least and greatest value that counts

PERCENTILE = 99.999
_BINS = 2048
_BATCH = 4  # all activations of a batch are held at once
# A Clip or Relu behind one of these vanishes into the quantised output's own range.
_ABSORBING = frozenset({"Add", "Conv", "ConvTranspose"})
_ABSORBED = frozenset({"Clip", "Relu"})


def calibrate(network: Network, pictures: UInt8Array, work: Path) -> Ranges:
    """The range of every float activation that may become an integer (percentile 99.999).

    Leaves no file in `work`, but needs room there for a copy of the model.
    """
    plain = work / "calibrate-model.onnx"
    augmented = work / "calibrate-outputs.onnx"
    try:
        onnx.save(network.model, plain)
        calibrator = _Calibrator(plain, augmented)
        # ONNX Runtime's calibrator prints its progress.
        with contextlib.redirect_stdout(io.StringIO()):
            for start in range(0, len(pictures), _BATCH):
                batch = {network.input.name: pictures[start : start + _BATCH]}
                calibrator.collect_data(_OneBatch(batch))
            found = calibrator.compute_data()
    finally:
        plain.unlink(missing_ok=True)
        augmented.unlink(missing_ok=True)
    ranges = {name: _bounds(data.range_value) for name, data in found.items()}
    # The quantiser asks for these too, then gives them the range behind the activation.
    absorbed = _absorbed(network.model.graph)
    return ranges | {name: ranges[after] for name, after in absorbed.items() if after in ranges}


def tensors_data(ranges: Ranges) -> TensorsData:
    """Ranges in the form that the quantiser reads (its least form is called MinMax)."""
    bounds = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    return TensorsData(CalibrationMethod.MinMax, bounds)


class _OneBatch:
    """One batch, in the form of ONNX Runtime's CalibrationDataReader."""

    def __init__(self, batch: Mapping[str, UInt8Array]) -> None:
        self._batches = iter([batch])

    def get_next(self) -> Mapping[str, UInt8Array] | None:
        """The batch, then None."""
        return next(self._batches, None)


class _Calibrator(PercentileCalibrater):  # type: ignore[misc]  # untyped upstream
    """ONNX Runtime's percentile calibrator without the tensors that no variant quantises."""

    def __init__(self, plain: Path, augmented: Path) -> None:
        super().__init__(
            plain, augmented_model_path=str(augmented), num_bins=_BINS, percentile=PERCENTILE
        )
        self.augment_graph()
        self.create_inference_session()

    def select_tensors_to_calibrate(
        self, model: onnx.ModelProto
    ) -> tuple[set[str], dict[str, onnx.ValueInfoProto]]:
        graph = model.graph
        infos = {info.name: info for info in (*graph.value_info, *graph.output)}
        wanted = (tensor_shapes(graph).keys() & infos.keys()) - _absorbed(graph).keys()
        return wanted, infos


def _absorbed(graph: onnx.GraphProto) -> dict[str, str]:
    """Tensors between a layer and the activation that is its only reader -> what comes out."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in used_by(node):
            readers.setdefault(name, []).append(node)
    return {
        name: readers[name][0].output[0]
        for node in graph.node
        if node.op_type in _ABSORBING
        for name in node.output
        if len(readers.get(name, [])) == 1 and readers[name][0].op_type in _ABSORBED
    }


def _bounds(bounds: tuple[np.floating, np.floating]) -> tuple[float, float]:
    return float(bounds[0]), float(bounds[1])
