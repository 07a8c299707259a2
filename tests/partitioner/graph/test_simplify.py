"""A simplifier is believed only if the answers stay."""

import onnx
import pytest
from tests.partitioner.graph.graphs import parsed, weights

from isthmus import ModelError
from isthmus_partitioner.graph.simplify import simplified

MODEL = parsed(
    """g (float[1, 8] x) => (float[1, 8] y) {
        a = Identity (x)
        b = MatMul (a, w)
        c = Identity (b)
        y = Relu (c)
    }""",
    w=weights(8, 8),
)


def same(model: onnx.ModelProto) -> onnx.ModelProto:
    return model


class Checks:
    """Says what it was told to, one answer after the other."""

    def __init__(self, *answers: str | None) -> None:
        self._answers = list(answers)

    def __call__(self, _model: onnx.ModelProto) -> str | None:
        return self._answers.pop(0)


def test_what_does_nothing_is_removed() -> None:
    result, notes = simplified(MODEL, same, Checks(None))
    assert [node.op_type for node in result.graph.node] == ["MatMul", "Relu"]
    assert notes == ()


def test_the_second_simplifier_takes_over_where_the_first_is_wrong() -> None:
    result, notes = simplified(MODEL, same, Checks("output 'y' differs", None))
    assert len(result.graph.node) < len(MODEL.graph.node)
    assert notes == ("onnxslim cannot simplify it (output 'y' differs)",)


def test_the_model_stays_where_both_are_wrong() -> None:
    result, notes = simplified(MODEL, same, Checks("it differs", "it differs", None))
    assert result is MODEL
    assert [note.split()[0] for note in notes] == ["onnxslim", "ONNX"]


def test_a_model_that_is_wrong_itself_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot be prepared for cutting: it differs"):
        simplified(MODEL, same, Checks("1", "2", "it differs"))


def test_outputs_that_are_called_otherwise_count_as_wrong() -> None:
    def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
        model.graph.output[0].name = "z"
        return model

    result, notes = simplified(MODEL, renamed, Checks(None))
    assert result is MODEL
    assert "its outputs are called ['z']" in notes[0]
