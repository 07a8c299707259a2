"""The face of a room says what it offers, in an order in which a name is found."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = sorted(face.parent.name for face in ROOT.glob("*/isthmus*/__init__.py"))


def reading_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: the order that ruff's RUF022 writes."""
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name


def names_shown_by(face: ModuleType) -> set[str]:
    """What the face binds for others: no submodules, nothing private."""
    return {
        name
        for name, value in vars(face).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_lists_exactly_what_it_binds(room: str) -> None:
    face = importlib.import_module(room)
    assert set(getattr(face, "__all__", ())) == names_shown_by(face)


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_lists_its_names_sorted_and_once(room: str) -> None:
    listed = list(getattr(importlib.import_module(room), "__all__", ()))
    assert listed == sorted(set(listed), key=reading_order)


def test_the_house_has_its_seven_rooms() -> None:
    suffixes = ("", "_bench", "_cli", "_cloud", "_edge", "_models", "_partitioner")
    assert [f"isthmus{suffix}" for suffix in suffixes] == ROOMS
