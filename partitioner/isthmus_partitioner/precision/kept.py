"""The result of a search, kept in a work directory."""

from pathlib import Path

import msgspec
import onnx
from google.protobuf.message import DecodeError

from isthmus_partitioner.graph.files import save_model
from isthmus_partitioner.precision.front import Point
from isthmus_partitioner.precision.search import Precision
from isthmus_partitioner.store import load_record, save_record

__all__ = ["known_precision", "save_precision"]

_RECORD, _INT8, _HEAD = "precision.json", "int8.onnx", "head.onnx"


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    front: tuple[Point, ...]
    tried: tuple[Point, ...]
    chosen: Point
    reason: str
    groups: int
    has_int8_graph: bool
    fp32_ms: float
    int8_ms: float | None


def known_precision(work: Path, key: str) -> Precision | None:
    """What was found before for the same `key`; None where it has to be searched for.

    That includes files that are gone or damaged.
    """
    record = load_record(work / _RECORD, key, _Record)
    if record is None:
        return None
    try:
        head = onnx.load(work / _HEAD)
        int8 = onnx.load(work / _INT8) if record.has_int8_graph else None
    except (OSError, ValueError, DecodeError):
        return None
    return Precision(
        front=record.front,
        tried=record.tried,
        chosen=record.chosen,
        reason=record.reason,
        groups=record.groups,
        int8=int8,
        head=head,
        fp32_ms=record.fp32_ms,
        int8_ms=record.int8_ms,
    )


def save_precision(work: Path, key: str, found: Precision) -> None:
    """Keep a result; the record goes first and comes last: it never stands for other files."""
    (work / _RECORD).unlink(missing_ok=True)
    save_model(found.head, work / _HEAD)
    if found.int8 is not None:
        save_model(found.int8, work / _INT8)
    record = _Record(
        front=found.front,
        tried=found.tried,
        chosen=found.chosen,
        reason=found.reason,
        groups=found.groups,
        has_int8_graph=found.int8 is not None,
        fp32_ms=found.fp32_ms,
        int8_ms=found.int8_ms,
    )
    save_record(work / _RECORD, key, record)
