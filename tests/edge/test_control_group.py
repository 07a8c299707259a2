"""How much memory a process can still have, by the machine and by its control groups."""

from pathlib import Path

import pytest
from tests.edge.doctor.machine import a_machine
from tests.edge.doctor.test_memory import limit, meminfo

from isthmus_edge.control_group import available_memory_bytes, memory_figures
from isthmus_edge.doctor.memory import MIB


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("machine_mib", "left_mib", "available_mib"), [(3000, 50, 50), (40, 200, 40), (3000, 0, 0)]
)
def test_the_lesser_of_the_machine_and_the_control_group_can_be_had(
    tmp_path: Path, version: int, machine_mib: int, left_mib: int, available_mib: int
) -> None:
    files = meminfo(machine_mib) | limit(version, limit_mib=256, used_mib=256 - left_mib)
    assert available_memory_bytes(a_machine(tmp_path, files)) == available_mib * MIB


def test_without_a_control_group_the_machine_alone_counts(tmp_path: Path) -> None:
    assert available_memory_bytes(a_machine(tmp_path, meminfo(700))) == 700 * MIB


def test_a_control_group_counts_where_the_machine_tells_nothing(tmp_path: Path) -> None:
    files = limit(2, limit_mib=256, used_mib=56)
    assert available_memory_bytes(a_machine(tmp_path, files)) == 200 * MIB


def test_an_old_kernel_tells_only_what_is_free(tmp_path: Path) -> None:
    files: dict[str, object] = {"proc/meminfo": "MemTotal: 4096 kB\nMemFree: 1024 kB"}
    assert available_memory_bytes(a_machine(tmp_path, files)) == MIB


def test_a_group_that_has_taken_more_than_its_limit_has_nothing_left(tmp_path: Path) -> None:
    files = meminfo(3000) | limit(2, limit_mib=256, used_mib=300)
    assert available_memory_bytes(a_machine(tmp_path, files)) == 0


def test_what_is_not_told_is_none_and_not_nothing(tmp_path: Path) -> None:
    around = a_machine(tmp_path, {})
    assert (available_memory_bytes(around), memory_figures(around)) == (None, {})


def test_this_machine_can_be_asked() -> None:
    told = memory_figures()
    assert not told or 0 <= (available_memory_bytes() or 0) <= told["MemTotal"]
