"""What users install is the wheel, so the wheel is what is looked at here, not the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = sorted(face.parent for face in ROOT.glob("*/isthmus*/__init__.py"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return zipfile.Path(built)


@pytest.fixture(scope="module")
def names(wheel: zipfile.Path) -> set[str]:
    return set(wheel.root.namelist())


def test_the_wheel_carries_every_module_and_stub_of_the_seven_rooms(names: set[str]) -> None:
    in_checkout = {
        path.relative_to(room.parent).as_posix()
        for room in ROOMS
        for pattern in ("*.py", "*.pyi", "*.proto")
        for path in room.rglob(pattern)
    }
    assert in_checkout - names == set()
    assert {
        "isthmus/v1/split.proto",
        "isthmus/v1/split_pb2.py",
        "isthmus/v1/split_pb2_grpc.py",
    } <= names


def test_the_wheel_tells_type_checkers_that_each_room_is_typed(names: set[str]) -> None:
    assert {f"{room.name}/py.typed" for room in ROOMS} <= names


def test_the_wheel_carries_nothing_but_the_rooms_and_its_own_metadata(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    metadata = {top for top in tops if top.endswith(".dist-info")}
    assert tops - metadata == {room.name for room in ROOMS}
    assert len(metadata) == 1


def test_the_wheel_carries_the_licence(names: set[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_rooms_can_be_imported_from_the_wheel_alone(
    wheel: zipfile.Path, tmp_path: Path
) -> None:
    """An installed tree holds what the wheel holds; a file that was left out fails here."""
    wheel.root.extractall(tmp_path)
    rooms = [room.name for room in ROOMS]
    program = f"import {', '.join(rooms)}\nprint(*(room.__file__ for room in ({', '.join(rooms)})))"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert [Path(place).parent.parent for place in ran.stdout.split()] == [tmp_path] * len(rooms)
