"""The soak counts what the tests wrote down, and trusts no round that ended badly."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOOD = {"accepted": 2, "cloud": 1, "device": 1, "errors": 0, "lost": 0, "twice": 0, "wrong": 0}


def line(fault: str, outcome: str = "passed", **counts: int) -> str:
    return json.dumps({"fault": fault, "outcome": outcome} | GOOD | counts)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "soak", tmp_path / "scripts")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    return tmp_path


def soak(checkout: Path, *rounds: tuple[list[str], str]) -> subprocess.CompletedProcess[str]:
    """With a stand-in for pytest: the lines of each round, and the shell's words that end it."""
    for number, (lines, _) in enumerate(rounds, 1):
        text = "".join(f"{each}\n" for each in lines)
        (checkout / f"lines-{number}").write_text(text, encoding="utf-8")
    ends = "".join(f"{number}) {end};;\n" for number, (_, end) in enumerate(rounds, 1))
    python = checkout / ".venv" / "bin" / "python"
    python.write_text(
        f'#!/bin/sh\ncd "{checkout}"\necho x >> begun\nround=$(wc -l < begun)\n'
        f'cat lines-$((round)) >> "$ISTHMUS_TALLY"\ncase $((round)) in\n{ends}esac\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    command = [str(checkout / "scripts" / "soak"), str(len(rounds))]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_rounds_that_are_good_are_added_up(checkout: Path) -> None:
    ran = soak(
        checkout, ([line("cut"), line("kill")], "exit 0"), ([line("cut"), line("kill")], ":")
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1].split() == ["all", "4", "8", "4", "4", *"00000"]


@pytest.mark.parametrize(
    ("end", "what"),
    [
        ("exit 2", "exited with 2"),
        ("exit 3", "exited with 3"),
        ("exit 4", "exited with 4"),
        ("kill -SEGV $$", "was ended by signal 11"),
        ("kill -KILL $$", "was ended by signal 9"),
    ],
)
def test_a_round_whose_tests_died_is_a_failure_though_all_that_was_written_is_good(
    checkout: Path, end: str, what: str
) -> None:
    ran = soak(checkout, ([line("cut")], end), ([line("cut")], "exit 0"))
    assert ran.returncode == 1
    assert ran.stderr == f"scripts/soak: round 1: pytest {what}\n"


@pytest.mark.parametrize("second", [[], [line("kill"), line("kill")]])
def test_a_fault_that_did_not_run_once_in_each_round_is_named(
    checkout: Path, second: list[str]
) -> None:
    ran = soak(checkout, ([line("cut"), line("kill")], "exit 0"), ([line("cut"), *second], ":"))
    assert ran.returncode == 1
    assert ran.stderr == f"scripts/soak: kill: {1 + len(second)} runs in 2 rounds\n"


@pytest.mark.parametrize(
    "bad", [line("cut", "failed"), line("cut", lost=1), line("cut", twice=1), line("cut", wrong=1)]
)
def test_a_run_in_which_anything_is_amiss_is_a_failure(checkout: Path, bad: str) -> None:
    assert soak(checkout, ([bad], "exit 0")).returncode == 1
