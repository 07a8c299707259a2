"""Runs checks one after another. A check that breaks is a finding itself, never a traceback."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from isthmus import ConfigError, IsthmusError
from isthmus_edge.doctor.finding import Finding, fail

Look = Callable[[], Iterable[Finding]]

__all__ = ["Check", "Look", "chosen_checks", "examine"]


@dataclass(frozen=True, slots=True)
class Check:
    """A question to the machine; --quick leaves out what `is_long`."""

    id: str
    question: str
    look: Look
    is_long: bool = False


def chosen_checks(checks: Sequence[Check], only: Sequence[str], *, quick: bool) -> list[Check]:
    """Those that are asked for; ConfigError for a name that no check has, with the nearest."""
    known = [check.id for check in checks]
    for name in only:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"no check {name!r} here; {hint}there are: {', '.join(known)}")
    if only:
        return [check for check in checks if check.id in only]
    return [check for check in checks if not (quick and check.is_long)]


def examine(
    checks: Sequence[Check], progress: Callable[[Check], None] = lambda _: None
) -> list[Finding]:
    """What they all find, in their order; `progress` hears of each check before it begins."""
    findings: list[Finding] = []
    for check in checks:
        progress(check)
        findings.extend(_found(check))
    return findings


def _found(check: Check) -> Iterator[Finding]:
    """What it finds; where it breaks, what it had found by then, and why it broke."""
    try:
        yield from check.look()
    except IsthmusError as error:
        text, _, way_out = str(error).rpartition("; ")
        yield fail(check.id, text or way_out, way_out, error=type(error).__name__)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is told as a failure)
        what = str(error).strip() or "no reason given"
        yield fail(
            check.id,
            f"the check itself failed: {type(error).__name__}: {what}",
            "please report this with the output of `isthmus doctor --json`",
            error=type(error).__name__,
        )
