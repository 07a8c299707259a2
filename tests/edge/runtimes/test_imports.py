"""Only the runtime that a chain needs is imported: another one may crash while it is."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.edge.kits import add_twins, build_kit
from tests.twinbundle import build_twin_bundle

PACKAGES = {"ai_edge_litert", "onnxruntime", "tflite_runtime"}
OPENS = "Agent(sys.argv[1]).close()"
NAMES = f"""
import json, sys
from isthmus_edge import Agent
{OPENS}
print(json.dumps(sorted({PACKAGES!r} & set(sys.modules))))
"""
PROFILES = """
import json, sys
from pathlib import Path
from isthmus_edge.profiling import ProfilingConfig, profile_kit
profile = profile_kit(Path(sys.argv[1]), ProfilingConfig(rounds=3, kernel_runs=1))
print(json.dumps([[each.runtime for each in profile.networks], profile.notes]))
"""


@pytest.fixture
def deadly(tmp_path: Path) -> Path:
    """A LiteRT for newer processors, installed beside ONNX Runtime: its import is the end."""
    folder = tmp_path / "deadly"
    about = folder / "ai_edge_litert-9.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ai-edge-litert\nVersion: 9.0\n")
    package = folder / "ai_edge_litert"
    package.mkdir()
    dies = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    (package / "__init__.py").write_text(dies)
    return folder


def run(
    program: str, path: Path, found_first: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1"}
    if found_first is not None:
        environment["PYTHONPATH"] = str(found_first)
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def said(program: str, path: Path, found_first: Path | None = None) -> Any:
    """The last line that it prints."""
    ran = run(program, path, found_first)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_a_package_that_kills_who_imports_it_is_left_alone(
    wide_bundle: Path, deadly: Path, tmp_path: Path
) -> None:
    """The last line shows that it would have."""
    assert said(NAMES, wide_bundle, deadly) == ["onnxruntime"]
    path = build_twin_bundle(tmp_path / "twins", runtime="onnxruntime")
    assert said(NAMES, path, deadly) == ["onnxruntime"]
    assert run("import ai_edge_litert", path, deadly).returncode == -11


def test_a_plan_for_litert_imports_that_alone(tmp_path: Path) -> None:
    path = build_twin_bundle(tmp_path / "bundle")
    assert said(NAMES, path) == ["ai_edge_litert"]


def test_what_litert_has_no_form_of_brings_the_next_one_in(tmp_path: Path) -> None:
    path = build_twin_bundle(tmp_path / "bundle", without={"device/segment-1.onnx"})
    assert said(NAMES, path) == ["ai_edge_litert", "onnxruntime"]


def test_an_explicit_choice_imports_that_alone(tmp_path: Path) -> None:
    path = build_twin_bundle(tmp_path / "bundle")
    program = NAMES.replace("argv[1])", "argv[1], runtime='onnxruntime')")
    assert said(program, path) == ["onnxruntime"]


def test_a_profile_has_a_note_of_what_crashes_and_the_times_of_the_rest(
    tmp_path: Path, deadly: Path
) -> None:
    kit = add_twins(build_kit(tmp_path / "kit"))
    runtimes, notes = said(PROFILES, kit, deadly)
    assert runtimes == ["onnxruntime"]
    assert any("fp32 on litert: its process was ended by signal 11" in note for note in notes)
