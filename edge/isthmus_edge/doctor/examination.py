"""Runs checks one after another. A check that breaks is a finding itself, never a traceback."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from isthmus import ConfigError, IsthmusError
from isthmus_edge.doctor.finding import Finding, fail, told_apart

Look = Callable[[], Iterable[Finding]]

__all__ = ["Check", "Look", "chosen_checks", "examine"]


@dataclass(frozen=True, slots=True)
class Check:
    """A question to the machine; --quick leaves out what `is_long`."""

    id: str
    question: str
    look: Look
    is_long: bool = False


def chosen_checks(
    checks: Sequence[Check],
    only: Sequence[str],
    *,
    quick: bool,
    needs: Mapping[str, str] | None = None,
) -> list[Check]:
    """Those that are asked for; ConfigError for a name that no check has, with the nearest.

    `needs` says of checks that are there only where something is named, how to name it.
    """
    needs = needs or {}
    here = [check.id for check in checks]
    for name in only:
        if name in here:
            continue
        if name in needs:
            raise ConfigError(f"the check {name!r} has nothing to look at; {needs[name]}")
        known = list(dict.fromkeys([*here, *needs]))
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"no check {name!r}; {hint}there are: {', '.join(known)}")
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
        text, way_out = told_apart(error)
        yield fail(check.id, text, way_out, error=type(error).__name__)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is told as a failure)
        what = str(error).strip() or "no reason given"
        yield fail(
            check.id,
            f"the check itself failed: {type(error).__name__}: {what}",
            "please report this with the output of `isthmus doctor --json`",
            error=type(error).__name__,
        )
