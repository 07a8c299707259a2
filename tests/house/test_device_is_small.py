"""What a device loads and what it installs: nothing that builds, serves or draws."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = sorted(name for name in PROJECT["optional-dependencies"] if name.startswith("edge"))
TOO_LARGE = {
    "matplotlib", "onnx", "onnxslim", "pandas", "plotly", "scipy", "sympy", "tensorflow", "torch",
}  # fmt: skip
OTHER_ROOMS = {"isthmus_bench", "isthmus_cloud", "isthmus_models", "isthmus_partitioner"}
RUNTIMES = {"ai_edge_litert", "onnxruntime", "tflite_runtime"}
WHOLE_ROOM = (
    "import importlib, pkgutil, isthmus_edge\n"
    "for each in pkgutil.walk_packages(isthmus_edge.__path__, 'isthmus_edge.'):\n"
    "    importlib.import_module(each.name)"
)
COMMANDS = (
    "from isthmus_cli.verbs import chosen_verb\n"
    "for verb in (['edge'], ['edge', 'profile'], ['edge', 'status'], ['fetch'], ['doctor']):\n"
    "    chosen_verb(verb)"
)


@cache
def packages_loaded_by(program: str) -> frozenset[str]:
    """Top-level names in a fresh interpreter after it."""
    end = "\nimport json, sys\nprint(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    ran = subprocess.run(
        [sys.executable, "-c", program + end],
        env=os.environ | {"ORT_DISABLE_TELEMETRY": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return frozenset(json.loads(ran.stdout.splitlines()[-1]))


def closure(requirements: list[str]) -> Iterator[str]:
    """Names of all packages that come with these here, by what those that are installed ask for."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(each) for each in requirements]
    while waiting:
        each = waiting.pop()
        name, extras = canonicalize_name(each.name), frozenset(each.extras)
        if (name, extras) in seen or not wanted(each, frozenset()):
            continue
        seen.add((name, extras))
        yield name
        try:
            asked = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:
            continue  # another extra's: its name was looked at
        for further in asked:
            if wanted(further, extras):
                further.marker = None
                waiting.append(further)


def wanted(requirement: Requirement, extras: frozenset[str]) -> bool:
    """Whether its marker holds here for one of the extras, or without any."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": each}) for each in ("", *extras))


@pytest.mark.parametrize("program", [WHOLE_ROOM, COMMANDS], ids=["every module", "the commands"])
def test_the_device_loads_nothing_that_builds_serves_or_draws(program: str) -> None:
    loaded = packages_loaded_by(program)
    assert "isthmus_edge" in loaded
    assert loaded & (TOO_LARGE | OTHER_ROOMS) == set()


@pytest.mark.parametrize("program", ["import isthmus_edge", COMMANDS], ids=["face", "commands"])
def test_no_runtime_is_loaded_before_somebody_needs_it(program: str) -> None:
    assert packages_loaded_by(program) & RUNTIMES == set()


def test_what_is_loaded_would_be_seen() -> None:
    assert "onnx" in packages_loaded_by("import onnx, isthmus_edge")


def test_there_is_an_extra_for_each_runtime() -> None:
    assert {"edge", "edge-litert", "edge-tflite"} <= set(EXTRAS)


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_of_the_device_draws_in_nothing_large(extra: str) -> None:
    named = PROJECT["dependencies"] + PROJECT["optional-dependencies"][extra]
    packages = set(closure(named))
    assert {"grpcio", "numpy"} <= packages
    assert packages & TOO_LARGE == set()


def test_a_large_package_behind_an_extra_of_another_would_be_seen() -> None:
    assert "onnx" in set(closure(["onnx-ir"]))
    assert "sympy" in set(closure(["onnxslim"]))
