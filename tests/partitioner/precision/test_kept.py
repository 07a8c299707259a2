"""A search that was done is not done again, unless its files are gone or of something else."""

from pathlib import Path

import onnx
import pytest

from isthmus_partitioner import Network
from isthmus_partitioner.precision.front import Kind, Point
from isthmus_partitioner.precision.kept import known_precision, save_precision
from isthmus_partitioner.precision.search import Precision

KINDS: tuple[tuple[Kind, float], ...] = (("int8", 1.5), ("mixed", 2.5), ("fp32", 4.0))
POINTS = tuple(
    Point(name=kind, kind=kind, fp32_groups=(kind,), ms=ms, divergence=0.5 / ms, agreement=0.75)
    for kind, ms in KINDS
)


def found(head: onnx.ModelProto, int8: onnx.ModelProto | None) -> Precision:
    return Precision(
        front=POINTS[:2],
        tried=POINTS,
        chosen=POINTS[1],
        reason="invented",
        groups=3,
        int8=int8,
        head=head,
        fp32_ms=4.0,
        int8_ms=None if int8 is None else 1.5,
    )


def other(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.doc_string = "int8"
    return copy


@pytest.mark.parametrize("has_int8", [True, False])
def test_what_was_found_is_found_again(network: Network, tmp_path: Path, has_int8: bool) -> None:
    given = found(network.model, other(network.model) if has_int8 else None)
    save_precision(tmp_path, "key", given)
    again = known_precision(tmp_path, "key")
    assert again is not None
    names = ("front", "tried", "chosen", "reason", "groups", "head", "int8", "fp32_ms", "int8_ms")
    assert all(getattr(again, name) == getattr(given, name) for name in names)


def test_another_key_or_an_empty_directory_knows_nothing(network: Network, tmp_path: Path) -> None:
    assert known_precision(tmp_path, "key") is None
    save_precision(tmp_path, "key", found(network.model, None))
    assert known_precision(tmp_path, "other") is None


def test_a_damaged_record_knows_nothing(network: Network, tmp_path: Path) -> None:
    save_precision(tmp_path, "key", found(network.model, None))
    (tmp_path / "precision.json").write_text("{")
    assert known_precision(tmp_path, "key") is None


@pytest.mark.parametrize("name", ["head.onnx", "int8.onnx"])
@pytest.mark.parametrize("is_gone", [True, False])
def test_without_one_of_its_files_a_result_is_not_known(
    network: Network, tmp_path: Path, name: str, is_gone: bool
) -> None:
    save_precision(tmp_path, "key", found(network.model, other(network.model)))
    if is_gone:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(b"torn")
    assert known_precision(tmp_path, "key") is None


def test_a_record_never_stands_for_files_that_are_not_there(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("isthmus_partitioner.precision.kept.save_model", fail)
    with pytest.raises(KeyboardInterrupt):
        save_precision(tmp_path, "key", found(network.model, None))
    assert known_precision(tmp_path, "key") is None
