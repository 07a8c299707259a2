"""What the doctor says of processors that others have."""

from pathlib import Path

import pytest
from tests.edge.doctor.machine import a_machine, assert_bad, cpus, the_only

from isthmus_edge.doctor.processor import look_at_cores, look_at_features, look_at_load

GOOD_X86 = "sse4_2 avx avx2 fma avx512f avx512_vnni"
PI_4 = "fp asimd evtstrm crc32 cpuid"
PI_5 = "fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm asimddp"
STAT = "cpu  {user} 0 100 {idle} 0 0 0 {steal} 0 0"


@pytest.mark.parametrize(
    ("machine", "flags", "key"),
    [
        ("x86_64", GOOD_X86, "flags"),
        ("x86_64", "avx2 avx_vnni", "flags"),
        ("aarch64", PI_5, "Features"),
    ],
)
def test_a_processor_with_integer_instructions_is_fine(
    tmp_path: Path, machine: str, flags: str, key: str
) -> None:
    around = a_machine(tmp_path, {"proc/cpuinfo": cpus(flags, key=key)}, machine)
    assert the_only(look_at_features(around)).state == "ok"


@pytest.mark.parametrize(
    ("machine", "flags", "key", "missing"),
    [
        ("x86_64", "sse4_2 avx", "flags", "AVX2"),
        ("x86_64", "avx avx2 fma", "flags", "VNNI"),
        ("aarch64", PI_4, "Features", "asimddp"),
        ("armv7l", "neon vfpv4", "Features", "no wheels"),
    ],
)
def test_missing_instructions_are_named(
    tmp_path: Path, machine: str, flags: str, key: str, missing: str
) -> None:
    around = a_machine(tmp_path, {"proc/cpuinfo": cpus(flags, key=key)}, machine)
    assert_bad(the_only(look_at_features(around)), "warn", missing)


def test_what_only_the_large_cores_can_do_is_not_counted(tmp_path: Path) -> None:
    both = cpus(PI_5, 1, key="Features") + "\n" + cpus(PI_4, 1, key="Features")
    around = a_machine(tmp_path, {"proc/cpuinfo": both}, "aarch64")
    assert_bad(the_only(look_at_features(around)), "warn", "asimddp")


def test_a_system_without_cpuinfo_is_no_fault(tmp_path: Path) -> None:
    around = a_machine(tmp_path, {}, "arm64")
    assert the_only(look_at_features(around)).state == "ok"
    assert the_only(look_at_cores(around)).state == "ok"


def test_threads_that_this_process_may_not_use_are_told(tmp_path: Path) -> None:
    around = a_machine(tmp_path, {"proc/cpuinfo": cpus(GOOD_X86)}, affinity=2)
    finding = the_only(look_at_cores(around))
    assert (finding.figures["threads"], finding.figures["usable_threads"]) == (4, 2)
    assert "may use 2 of them" in finding.text


def quota_files(version: int, quota: str, period: int) -> dict[str, object]:
    if version == 2:
        return {
            "proc/self/cgroup": "0::/system.slice/edge.service",
            "sys/fs/cgroup/system.slice/edge.service/cpu.max": f"{quota} {period}",
        }
    return {
        "proc/self/cgroup": "4:cpu,cpuacct:/docker/1",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": -1 if quota == "max" else quota,
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": period,
    }


@pytest.mark.parametrize("version", [1, 2])
def test_a_quota_below_one_cpu_is_found_in_both_versions_of_control_groups(
    tmp_path: Path, version: int
) -> None:
    files = {"proc/cpuinfo": cpus(GOOD_X86)} | quota_files(version, "25000", 100_000)
    finding = the_only(look_at_cores(a_machine(tmp_path, files)))
    assert_bad(finding, "warn", "0.25 CPUs")
    assert finding.figures["quota_cpus"] == 0.25


@pytest.mark.parametrize("version", [1, 2])
def test_no_quota_is_no_quota_in_both_versions(tmp_path: Path, version: int) -> None:
    files = {"proc/cpuinfo": cpus(GOOD_X86)} | quota_files(version, "max", 100_000)
    finding = the_only(look_at_cores(a_machine(tmp_path, files)))
    assert finding.state == "ok"
    assert "quota_cpus" not in finding.figures


def test_the_quota_of_a_group_further_up_counts(tmp_path: Path) -> None:
    files = {"proc/cpuinfo": cpus(GOOD_X86)} | quota_files(2, "max", 100_000)
    files["sys/fs/cgroup/system.slice/cpu.max"] = "150000 100000"
    finding = the_only(look_at_cores(a_machine(tmp_path, files)))
    assert (finding.state, finding.figures["quota_cpus"]) == ("ok", 1.5)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("throttled", "state", "said"), [(0, "ok", "0%"), (90, "ok", "9%"), (400, "warn", "40%")]
)
def test_a_quota_that_is_used_up_again_and_again_is_found(
    tmp_path: Path, version: int, throttled: int, state: str, said: str
) -> None:
    files = {"proc/cpuinfo": cpus(GOOD_X86)} | quota_files(version, "200000", 100_000)
    folder = next(name for name in files if "quota" in name or "max" in name).rpartition("/")[0]
    files[f"{folder}/cpu.stat"] = f"nr_periods 1000\nnr_throttled {throttled}"
    finding = the_only(look_at_cores(a_machine(tmp_path, files)))
    assert (finding.state, finding.figures["throttled_share"]) == (state, throttled / 1000)
    assert f"used up in {said} of them" in finding.text
    assert (finding.way_out is None) == (state == "ok")


@pytest.mark.parametrize("told", [None, "nr_periods 0\nnr_throttled 0", "usage_usec 5"])
def test_a_quota_may_be_told_without_how_often_it_was_used_up(
    tmp_path: Path, told: str | None
) -> None:
    files = {"proc/cpuinfo": cpus(GOOD_X86)} | quota_files(2, "200000", 100_000)
    if told is not None:
        files["sys/fs/cgroup/system.slice/edge.service/cpu.stat"] = told
    finding = the_only(look_at_cores(a_machine(tmp_path, files)))
    assert (finding.state, finding.figures["throttled_share"]) == ("ok", None)


@pytest.mark.parametrize(
    ("load", "steal", "state", "word"),
    [("0.40", 0, "ok", "0%"), ("0.40", 50, "warn", "stolen"), ("9.00", 0, "warn", "load 2.2")],
)
def test_a_crowded_machine_and_a_crowded_host_are_told_apart(
    tmp_path: Path, load: str, steal: int, state: str, word: str
) -> None:
    files: dict[str, object] = {
        "proc/loadavg": f"{load} 0.1 0.1 1/100 1",
        "proc/stat": STAT.format(user=100, idle=1000, steal=0),
    }

    def wait(_: float) -> None:
        later = STAT.format(user=150, idle=1100, steal=steal)
        (tmp_path / "proc/stat").write_text(later)

    finding = the_only(look_at_load(a_machine(tmp_path, files, wait=wait)))
    assert finding.state == state
    assert word in finding.text
    assert (finding.way_out is None) == (state == "ok")
