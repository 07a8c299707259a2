"""What every fault has: its durations, and the place where its tally is written down.

With ISTHMUS_SOAK=1 faults last as long as they are meant to; by default they are short. The file
named by ISTHMUS_TALLY gets a line of JSON for every fault: see `scripts/soak`.
"""

import json
import os
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.integration.faults.processes import CountedCloud
from tests.integration.faults.settling import Settle
from tests.integration.faults.tally import Count, Lasting, Tally
from tests.integration.faults.traffic import Traffic

_TALLY = pytest.StashKey[Tally]()
_OUTCOME = pytest.StashKey[str]()
_NOTHING = Tally(accepted=0, cloud=0, device=0, errors=0)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(name): what the tests of `scripts/soak` bring about")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write down once, at its end, how the fault was survived, also where it was not."""
    report = yield
    outcome = item.stash[_OUTCOME] = _worse(item.stash.get(_OUTCOME, "passed"), report.outcome)
    file, marker = os.environ.get("ISTHMUS_TALLY"), item.get_closest_marker("fault")
    if file and marker is not None and report.when == "teardown" and outcome != "skipped":
        tally = asdict(item.stash.get(_TALLY, _NOTHING))
        line = {"fault": marker.args[0], "outcome": outcome, **tally}
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
    return report


def _worse(one: str, other: str) -> str:
    """Of the outcomes of set-up, call and tear-down."""
    return max(one, other, key=("passed", "skipped", "failed").index)


@pytest.fixture(scope="session")
def lasting() -> Lasting:
    """How long the fault lasts: the first of the two unless ISTHMUS_SOAK=1."""
    soaks = os.environ.get("ISTHMUS_SOAK") == "1"
    return lambda short, full: full if soaks else short


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Count:
    """Note a tally of the test; several are added up."""

    def note(tally: Tally) -> None:
        request.node.stash[_TALLY] = request.node.stash.get(_TALLY, _NOTHING) + tally

    return note


@pytest.fixture
def settle(count: Count) -> Settle:
    """Wait for every frame, note how they ended, then see that all is well on both sides."""

    def see(traffic: Traffic, cloud: CountedCloud | None = None, sessions: int = 1) -> Tally:
        tally = traffic.tally()
        count(tally)
        traffic.assert_settled(tally)
        if cloud is not None:
            cloud.assert_at_level(sessions)
        return tally

    return see
