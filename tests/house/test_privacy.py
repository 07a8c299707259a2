"""ONNX Runtime from 1.29 on reports to its makers unless told not to before it loads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SWITCH = "ORT_DISABLE_TELEMETRY"
SILENCED_ANYWAY = {SWITCH, "CI", "XDG_CACHE_HOME"}


def load_runtime_after(room: str, home: Path, **extra: str) -> str:
    """Imports the room, then the runtime, as a new user would; returns how the switch stands."""
    environment = {name: value for name, value in os.environ.items() if name not in SILENCED_ANYWAY}
    program = f"import {room}, onnxruntime, os; print(os.environ.get('{SWITCH}'))"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"HOME": str(home)} | extra,
        check=True,
        capture_output=True,
        text=True,
    )
    return ran.stdout.strip()


@pytest.mark.parametrize("room", ["isthmus_cloud", "isthmus_edge", "isthmus_partitioner"])
def test_a_room_silences_the_runtime_before_it_loads(room: str, tmp_path: Path) -> None:
    """The runtime's first sign of life is an identifier of the machine below the home folder."""
    assert load_runtime_after(room, tmp_path) == "1"
    assert [str(path) for path in tmp_path.rglob("*onnxruntime*")] == []


def test_who_wants_to_report_can_say_so(tmp_path: Path) -> None:
    assert load_runtime_after("isthmus_edge", tmp_path, CI="true", **{SWITCH: "0"}) == "0"
