"""What the doctor says of memory and disks."""

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from tests.edge.doctor.machine import a_machine, assert_bad, the_only

from isthmus_edge.control_group import available_memory_bytes
from isthmus_edge.doctor.memory import MIB, look_at_memory
from isthmus_edge.doctor.storage import Folder, SystemDisk, look_at_storage
from isthmus_edge.doctor.surroundings import Surroundings


def meminfo(available_mib: int, swap_mib: int = 0) -> dict[str, object]:
    lines = {"MemTotal": 4096, "MemAvailable": available_mib, "SwapTotal": swap_mib}
    text = "".join(f"{name}: {value * 1024} kB\n" for name, value in lines.items())
    return {"proc/meminfo": text}


def limit(version: int, limit_mib: int, used_mib: int) -> dict[str, object]:
    if version == 2:
        folder = "sys/fs/cgroup/app"
        return {
            "proc/self/cgroup": "0::/app",
            f"{folder}/memory.max": limit_mib * MIB,
            f"{folder}/memory.current": (used_mib + 10) * MIB,
            f"{folder}/memory.stat": f"anon 1\ninactive_file {10 * MIB}",
        }
    folder = "sys/fs/cgroup/memory/app"
    return {
        "proc/self/cgroup": "9:memory:/app",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 2**63 - 4096,
        f"{folder}/memory.limit_in_bytes": limit_mib * MIB,
        f"{folder}/memory.usage_in_bytes": (used_mib + 10) * MIB,
        f"{folder}/memory.stat": f"total_inactive_file {10 * MIB}",
    }


@pytest.mark.parametrize(("free_mib", "state"), [(2000, "ok"), (200, "warn"), (40, "fail")])
def test_little_memory_is_found(tmp_path: Path, free_mib: int, state: str) -> None:
    finding = the_only(look_at_memory(a_machine(tmp_path, meminfo(free_mib, swap_mib=512))))
    assert (finding.state, finding.figures["available_bytes"]) == (state, free_mib * MIB)
    assert (finding.way_out is None) == (state == "ok")


@pytest.mark.parametrize("version", [1, 2])
def test_a_limit_of_the_control_group_counts_in_both_versions(tmp_path: Path, version: int) -> None:
    files = meminfo(3000) | limit(version, limit_mib=256, used_mib=206)
    finding = the_only(look_at_memory(a_machine(tmp_path, files)))
    assert_bad(finding, "fail", "256 MiB")
    assert finding.figures["available_bytes"] == 50 * MIB


def test_the_limit_of_a_group_further_up_counts_if_it_leaves_less(tmp_path: Path) -> None:
    files = meminfo(3000) | limit(2, limit_mib=1000, used_mib=0)
    files |= {"sys/fs/cgroup/memory.max": 300 * MIB, "sys/fs/cgroup/memory.current": 0}
    finding = the_only(look_at_memory(a_machine(tmp_path, files)))
    assert finding.figures["limit_bytes"] == 300 * MIB


def test_version_1_says_with_a_huge_number_that_there_is_no_limit(tmp_path: Path) -> None:
    files = meminfo(3000) | {
        "proc/self/cgroup": "9:memory:/",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 2**63 - 4096,
    }
    assert the_only(look_at_memory(a_machine(tmp_path, files))).figures["limit_bytes"] is None


def test_a_limit_above_what_the_machine_has_changes_nothing(tmp_path: Path) -> None:
    files = meminfo(2000) | limit(2, limit_mib=9000, used_mib=0)
    assert the_only(look_at_memory(a_machine(tmp_path, files))).state == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class TacitKernel(Surroundings):
    """This machine, if it were no Linux."""

    def text(self, name: str) -> str | None:
        return None


def test_a_system_without_the_kernels_files_is_asked_by_psutil() -> None:
    total = psutil.virtual_memory().total
    available = available_memory_bytes(TacitKernel())
    assert available is not None
    assert 0 < available <= total
    finding = the_only(look_at_memory(TacitKernel()))
    told = finding.figures["available_bytes"]
    assert isinstance(told, int)
    assert 0 < told <= total
    assert "MiB can be had" in finding.text


def test_a_system_that_nobody_can_ask_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psutil reads /proc, too, and fails where it is closed."""

    def closed() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/proc/meminfo")

    monkeypatch.setattr(psutil, "virtual_memory", closed)
    for around in (TacitKernel(), a_machine(tmp_path, {})):
        assert available_memory_bytes(around) is None
        finding = the_only(look_at_memory(around))
        assert (finding.state, finding.text) == ("ok", "this system does not tell its memory")


def test_a_limit_is_told_where_the_machine_tells_nothing(tmp_path: Path) -> None:
    finding = the_only(look_at_memory(a_machine(tmp_path, limit(2, limit_mib=256, used_mib=206))))
    assert_bad(finding, "fail", "50 MiB can be had", "256 MiB")
    assert finding.figures["total_bytes"] is None


@dataclass
class FakeDisk:
    free: int = 10_000 * MIB
    error: OSError | None = None
    may_be_written: bool = True
    written: list[Path] = field(default_factory=list)

    def free_bytes(self, folder: Path) -> int:
        return self.free

    def may_write(self, folder: Path) -> bool:
        return self.may_be_written

    def try_to_write(self, folder: Path) -> None:
        self.written.append(folder)
        if self.error is not None:
            raise self.error


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("disk", "state", "word"),
    [
        (FakeDisk(), "ok", "can be written"),
        (FakeDisk(error=os_error(errno.EROFS)), "fail", "Read-only"),
        (FakeDisk(error=os_error(errno.EACCES)), "fail", "Permission denied"),
        (FakeDisk(free=1 * MIB), "fail", "full"),
        (FakeDisk(free=100 * MIB), "warn", "nearly full"),
    ],
)
def test_a_disk_that_cannot_be_written_is_found(disk: FakeDisk, state: str, word: str) -> None:
    finding = the_only(look_at_storage(disk, [Folder(Path("state"), "state")]))
    assert (finding.state, word in finding.text) == (state, True), finding.text
    assert (finding.way_out is None) == (state == "ok")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_not_to_be_mounted_but_to_be_emptied(number: int) -> None:
    disk = FakeDisk(error=os_error(number))
    finding = the_only(look_at_storage(disk, [Folder(Path("state"), "state")]))
    assert_bad(finding, "fail", os.strerror(number))
    assert "delete" in str(finding.way_out)


@pytest.mark.parametrize("is_writable", [True, False])
def test_into_a_bundle_nothing_is_written(is_writable: bool) -> None:
    disk = FakeDisk(may_be_written=is_writable)
    folder = Folder(Path("a.bundle"), "bundle", is_written=False)
    finding = the_only(look_at_storage(disk, [folder]))
    assert (finding.state, finding.figures["is_writable"]) == ("ok", is_writable)
    assert disk.written == []


def test_a_bundle_that_is_missing_is_not_to_be_made_with_mkdir(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "no.bundle", "bundle", is_written=False)
    finding = the_only(look_at_storage(SystemDisk(), [folder]))
    assert_bad(finding, "fail", "No such file")
    assert "mkdir" not in str(finding.way_out)


def test_a_name_that_no_disk_takes_is_not_to_be_made(tmp_path: Path) -> None:
    finding = the_only(look_at_storage(SystemDisk(), [Folder(tmp_path / ("x" * 300), "state")]))
    assert_bad(finding, "fail", "too long")
    assert "mkdir" not in str(finding.way_out)


def test_a_bundle_may_lie_on_a_read_only_disk_that_is_full() -> None:
    disk = FakeDisk(free=0, may_be_written=False)
    folder = Folder(Path("a.bundle"), "bundle", is_written=False)
    assert the_only(look_at_storage(disk, [folder])).state == "ok"


def test_a_real_folder_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    findings = list(
        look_at_storage(SystemDisk(), [Folder(tmp_path, "a"), Folder(tmp_path / "no", "b")])
    )
    assert findings[0].figures["is_writable"] is True
    assert_bad(findings[1], "fail", "No such file")
    assert list(tmp_path.iterdir()) == []
