"""The one graph that is written by hand is what ONNX says it should be."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from isthmus_cloud.engines.concat_graph import concat_graph
from isthmus_cloud.engines.ort_session import CPU_PLACEMENT, open_session


@pytest.mark.parametrize("count", [1, 2, 17, 200])
@pytest.mark.parametrize(("kind", "name"), [(TensorProto.FLOAT, "float32"), (10, "float16")])
def test_it_joins_along_its_axis(count: int, kind: int, name: str) -> None:
    graph = concat_graph(count, kind, rank=3, axis=1)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    session = open_session(graph, CPU_PLACEMENT, threads=1)
    parts = [np.full((2, 1 + index % 3, 4), index, name) for index in range(count)]
    (joined,) = session.run(None, {str(index): part for index, part in enumerate(parts)})
    assert np.array_equal(joined, np.concatenate(parts, axis=1))
