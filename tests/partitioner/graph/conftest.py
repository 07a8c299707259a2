"""Models are saved and read back, with sizes where a test wants them."""

from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest
from tests.partitioner.graph.graphs import Read
from tests.partitioner.networks import saved

from isthmus_partitioner import Network, load_model


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def _read(model: onnx.ModelProto, sizes: Mapping[str, int] | None = None) -> Network:
        return load_model(saved(model, tmp_path / "model.onnx"), sizes or {})

    return _read
