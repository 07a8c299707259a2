"""A machine as a test wants it: the kernel's files in a folder, clocks that stand still."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from isthmus_edge.doctor.finding import Finding
from isthmus_edge.doctor.surroundings import Surroundings

NOW_S = 1_800_000_000.0  # January 2027


def a_machine(
    folder: Path,
    files: dict[str, object],
    machine: str = "x86_64",
    affinity: int = 4,
    wait: Callable[[float], None] = lambda _: None,
) -> Surroundings:
    """`files` by their paths below the root."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n", encoding="utf-8")
    return Surroundings(
        root=folder,
        machine=machine,
        affinity=affinity,
        wall_s=lambda: NOW_S,
        clock_s=lambda: 0.0,
        wait=wait,
    )


def the_only(findings: Iterable[Finding]) -> Finding:
    """The one finding that there is."""
    (finding,) = findings
    return finding


def states(findings: Iterable[Finding]) -> dict[str, str]:
    """The states by id; of several findings of one id, the last."""
    return {finding.id: finding.state for finding in findings}


def assert_bad(finding: Finding, state: str, *words: str) -> None:
    """It has this state, names the words in its text, and has a way out."""
    assert finding.state == state, finding
    assert [word for word in words if word not in finding.text] == [], finding.text
    assert finding.way_out


def cpus(flags: str, count: int = 4, key: str = "flags", **extra: Any) -> str:
    """A /proc/cpuinfo."""
    lines = [
        f"processor\t: {index}\nphysical id\t: 0\ncore id\t\t: {index}\n{key}\t\t: {flags}\n"
        + "".join(f"{name}\t: {value}\n" for name, value in extra.items())
        for index in range(count)
    ]
    return "\n".join(lines)
