"""The processor: what it can do with integers, how much of it is ours, whether it is busy."""

from collections.abc import Iterator

from isthmus_edge.control_group import CpuQuota, cpu_quota
from isthmus_edge.doctor.finding import Figure, Finding, note, warn
from isthmus_edge.doctor.surroundings import Surroundings

_X86 = ("x86_64", "amd64", "i686", "i386")
_ARM64 = ("aarch64", "arm64")
_ARM32 = ("armv6l", "armv7l", "armv8l")
_TOLD_X86 = ("avx", "avx2", "fma", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8")
_TOLD_ARM = ("asimd", "neon", "asimddp", "i8mm", "sve", "sve2")
_LONG_PERIOD_MS = 20.0  # with a longer one, a layer is held back for many times what it takes
_OFTEN_SHARE = 0.1  # of the periods; a start alone, with all its threads, makes a few percent
_STEAL_SHARE, _STEAL_S = 0.05, 0.5

__all__ = ["look_at_cores", "look_at_features", "look_at_load"]


def look_at_features(around: Surroundings) -> Iterator[Finding]:
    """Which of the instructions are there that int8 lives on."""
    flags = _flags(around.text("proc/cpuinfo") or "")
    if not flags:
        yield note("features", f"{around.machine}; this system does not tell its instructions")
    elif around.machine in _X86:
        yield _x86(flags)
    elif around.machine in _ARM64:
        yield _arm64(flags)
    elif around.machine in _ARM32:
        yield _arm32(around.machine, flags)
    else:
        yield note("features", f"{around.machine}; Isthmus knows nothing special about it")


def _x86(flags: set[str]) -> Finding:
    told = [flag for flag in _TOLD_X86 if flag in flags]
    text = f"x86: {_listed(told)}"
    if "avx2" not in flags:
        return warn(
            "features",
            f"{text}; no AVX2, so networks run several times slower than they could",
            "run `isthmus edge profile` before planning; on a virtual machine, let the host pass "
            "its processor on (cpu: host)",
            features=told,
        )
    if not {"avx_vnni", "avx512_vnni"} & flags:
        return warn(
            "features",
            f"{text}; no VNNI, so int8 gains little over fp32",
            "let `isthmus edge profile` measure int8 on this machine before it is used",
            features=told,
        )
    return note("features", text, features=told)


def _arm64(flags: set[str]) -> Finding:
    told = [flag for flag in _TOLD_ARM if flag in flags]
    text = f"ARM 64: {_listed(told)}"
    if "asimddp" not in flags:
        return warn(
            "features",
            f"{text}; no dot product (asimddp), so int8 is hardly faster than fp32 here",
            "let `isthmus edge profile` measure int8 on this device before it is used",
            features=told,
        )
    return note("features", text, features=told)


def _arm32(machine: str, flags: set[str]) -> Finding:
    told = [flag for flag in _TOLD_ARM if flag in flags]
    return warn(
        "features",
        f"ARM 32 ({machine}): {_listed(told)}; ONNX Runtime and LiteRT have no wheels for it",
        "install a 64-bit system if the board can run one; else use tflite-runtime on Python 3.11: "
        "pip install 'isthmus[edge-tflite]'",
        features=told,
    )


def look_at_cores(around: Surroundings) -> Iterator[Finding]:
    """How many CPUs there are, and how much of them this process may use."""
    cpus, cores = _counts(around.text("proc/cpuinfo") or "")
    cpus = max(cpus, around.affinity)
    model = _field(around.text("proc/cpuinfo") or "", "model name")
    board = around.text("proc/device-tree/model")
    name = board or model or around.machine
    text = f"{name}: {cores or cpus} cores, {cpus} threads"
    quota = cpu_quota(around)
    if around.affinity < cpus:
        text += f"; this process may use {around.affinity} of them"
    if quota is None or quota.cpus >= cpus:
        yield note("cores", text, threads=cpus, usable_threads=around.affinity)
        return
    figures: dict[str, Figure] = {"threads": cpus, "usable_threads": around.affinity}
    yield _within(quota, text, figures)


def _within(quota: CpuQuota, text: str, figures: dict[str, Figure]) -> Finding:
    """What a quota does: a short one is bad by itself, any other if it is often used up."""
    share = quota.throttled_share
    figures |= {"quota_cpus": quota.cpus, "throttled_share": share}
    text += f"; its control group has {quota.cpus:.2f} CPUs, per {quota.period_ms:g} ms"
    if share is not None:
        text += f", used up in {share:.0%} of them"
    if quota.cpus < 1 and quota.period_ms > _LONG_PERIOD_MS:
        text += ": whoever has used that up stands still until the period ends"
        way_out = (
            "give the container at least one CPU (docker --cpus, CPUQuota=), or shorten the period "
            "to 10 ms (docker --cpu-period, CPUQuotaPeriodSec=)"
        )
        return warn("cores", text, way_out, **figures)
    if share is not None and share > _OFTEN_SHARE:
        way_out = (
            "give the container more CPU time (docker --cpus, CPUQuota=), or let fewer threads and "
            "fewer programs run in it"
        )
        return warn("cores", f"{text}: it is held back often", way_out, **figures)
    return note("cores", text, **figures)


def look_at_load(around: Surroundings) -> Iterator[Finding]:
    """Whether others use the machine, or the host takes its time away."""
    load = (around.text("proc/loadavg") or "").split()
    before = _ticks(around)
    around.wait(_STEAL_S)
    stolen = _stolen_share(before, _ticks(around))
    if not load or stolen is None:
        yield note("load", "this system does not tell its load")
        return
    per_cpu = float(load[0]) / max(1, around.affinity)
    text = f"load {per_cpu:.1f} a CPU over the last minute, {stolen:.0%} of its time stolen"
    figures = {"load_per_cpu": round(per_cpu, 2), "stolen_share": round(stolen, 3)}
    if stolen > _STEAL_SHARE:
        way_out = "the host is crowded: take a larger or another virtual machine"
        yield warn("load", text, way_out, **figures)
    elif per_cpu > 1:
        way_out = "other work takes the processor: end it before you measure or plan"
        yield warn("load", text, way_out, **figures)
    else:
        yield note("load", text, **figures)


def _flags(cpuinfo: str) -> set[str]:
    """Those that every CPU has: on big.LITTLE the cores may differ."""
    named = [
        set(line.partition(":")[2].split())
        for line in cpuinfo.splitlines()
        if line.partition(":")[0].strip() in {"flags", "Features"}
    ]
    return set.intersection(*named) if named else set()


def _counts(cpuinfo: str) -> tuple[int, int | None]:
    """CPUs, and physical cores where the system tells them."""
    cores, package, cpus = set(), "0", 0
    for line in cpuinfo.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "processor" and value.isdigit():
            cpus += 1
        elif key == "physical id":
            package = value
        elif key == "core id":
            cores.add((package, value))
    return cpus, len(cores) or None


def _field(cpuinfo: str, name: str) -> str | None:
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _ticks(around: Surroundings) -> list[int]:
    """Of all CPUs: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5))."""
    first = (around.text("proc/stat") or "").partition("\n")[0].split()
    return [int(ticks) for ticks in first[1:9]]


def _stolen_share(before: list[int], after: list[int]) -> float | None:
    if len(before) < 8 or len(after) < 8:
        return None
    passed = [later - sooner for sooner, later in zip(before, after, strict=True)]
    return passed[7] / max(1, sum(passed))


def _listed(names: list[str]) -> str:
    return " ".join(names) or "none of the known extensions"
