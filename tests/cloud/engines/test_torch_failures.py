"""What PyTorch raises where its device is lost, without PyTorch: a stand-in raises it."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from isthmus import ModelError
from isthmus_cloud.engines.torch_engine import TorchEngine, TorchPlacement


class LostTensor:
    def numpy(self, *, force: bool) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> TorchEngine:
    torch: Any = ModuleType("torch")
    torch.Tensor = LostTensor
    torch.set_num_threads = lambda _: None
    for module in (torch, ModuleType("onnx2pytorch")):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return TorchEngine(1, TorchPlacement(device="cuda"))


def test_a_tensor_that_cannot_be_read_is_an_error_of_its_frames(engine: TorchEngine) -> None:
    with pytest.raises(ModelError, match="cannot be read from PyTorch on cuda: CUDA error"):
        engine.to_host(LostTensor())
    array = np.zeros(1)
    assert engine.to_host(array) is array
