"""What the linters cannot see: sizes, typed packages, and what no committed file may say."""

import ast
import gc
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.long_files import LONG

import isthmus

ROOT = Path(__file__).parents[2]
ROOMS = sorted(face.parent for face in ROOT.glob("*/isthmus*/__init__.py"))
FILE_LINES = 400
FUNCTION_LINES = 50  # 40 is the aim; past 50 it is two functions
# Written so that it does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|work(?:space)?)/\w")
SLEEP = re.compile(r"(?<!def )\bsleep\((?!0\))")


def committed_files() -> list[Path]:
    """Everything that git tracks or would add."""
    if not (ROOT / ".git").exists():
        pytest.skip("only a git checkout knows which files are committed")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path for name in listed.split("\0") if (path := ROOT / name).is_file()]


def written_by_hand() -> list[Path]:
    return [path for room in ROOMS for path in room.rglob("*.py") if "_pb2" not in path.name]


def text_of(path: Path) -> str:
    """The file's text, or nothing if it is binary."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def hits(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]


def functions_in(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's place and its length in lines."""
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", length


def test_every_room_says_that_it_is_typed() -> None:
    assert [room.name for room in ROOMS if not (room / "py.typed").is_file()] == []


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for room in ROOMS for path in room.rglob("*.py")}
    assert sorted(folder for folder in folders if not (folder / "__init__.py").is_file()) == []


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {path: len(text_of(path).splitlines()) for path in written_by_hand()}
    assert {str(path): lines for path, lines in lengths.items() if lines > FILE_LINES} == {}


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Python 3.11's parser fails with SystemError if the collector runs finalisers meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
def test_no_function_is_longer_than_a_screen() -> None:
    found = [each for path in written_by_hand() for each in functions_in(path)]
    assert [(place, lines) for place, lines in found if lines > FUNCTION_LINES] == []


def test_no_committed_file_names_a_path_of_somebodys_machine() -> None:
    assert hits(MACHINE_PATH, committed_files()) == []


def test_the_search_for_machine_paths_finds_one() -> None:
    assert MACHINE_PATH.search("open('/" + "home/ada/model.onnx')")
    assert not MACHINE_PATH.search("https://example.org/" + "home/ada")


def test_no_test_sleeps() -> None:
    assert hits(SLEEP, sorted((ROOT / "tests").rglob("test_*.py"))) == []


def test_the_files_of_tests_that_begin_first_are_there() -> None:
    assert [file for file in LONG if not (ROOT / file).is_file()] == []


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert version("isthmus") == project["version"]
    assert getattr(isthmus, "__version__", project["version"]) == project["version"]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    command = "make test"
    assert command in text_of(ROOT / "README.md")
    assert command in text_of(ROOT / ".ci" / "run")
