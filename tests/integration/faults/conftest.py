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
from tests.integration.faults.tally import Count, Lasting, Tally
from tests.integration.faults.traffic import Settle, Traffic

_TALLY = pytest.StashKey[Tally]()
_NOTHING = Tally(accepted=0, cloud=0, device=0, errors=0)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(name): what the tests of `scripts/soak` bring about")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write down how the fault was survived, also where it was not."""
    report = yield
    file, marker = os.environ.get("ISTHMUS_TALLY"), item.get_closest_marker("fault")
    if file and marker is not None and (report.when == "call" or report.failed):
        tally = asdict(item.stash.get(_TALLY, _NOTHING))
        line = {"fault": marker.args[0], "outcome": report.outcome, **tally}
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
    return report


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
    """Wait for every frame, note how they ended, then see that all is well."""

    def see(traffic: Traffic) -> Tally:
        tally = traffic.tally()
        count(tally)
        traffic.assert_settled(tally)
        return tally

    return see
