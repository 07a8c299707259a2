"""What `isthmus edge status` prints of a daemon's answer."""

import pytest
from msgspec.structs import replace

from isthmus_cli.edge_status import status_lines
from isthmus_edge.daemon.status import (
    AgentStatus,
    Counts,
    LinkStatus,
    Status,
    SupplyStatus,
    UpdateStatus,
)


def line_of(
    kind: str,
    candidate: str | None = None,
    switches: int = 0,
    link: LinkStatus | None = None,
    update: UpdateStatus | None = None,
    supply: SupplyStatus | None = None,
) -> str:
    """The line of this kind, of an agent with these."""
    agent = AgentStatus(
        answers=True,
        candidate=candidate,
        rung=None,
        switches=switches,
        link=link or LinkStatus(state="none"),
        update=update,
    )
    status = Status(
        version="1",
        pid=1,
        state="running",
        config="edge.toml",
        uptime_s=1.0,
        bundle=None,
        agent=agent,
        counts=Counts(accepted=1293, answered_device=1293),
        rss_bytes=1,
        endpoint=[],
        sources=[],
        output=None,
        reloads=0,
        reload_fault=None,
        events=[],
        supply=supply,
    )
    (line,) = (each for each in status_lines(status) if each.startswith(kind))
    return line


@pytest.mark.parametrize(
    ("candidate", "switches", "line"),
    [
        (None, 0, "candidate none yet, 0 switches"),
        ("b03.project", 0, "candidate b03.project (pinned)"),
        ("b03.project", 1, "candidate b03.project, 1 switches"),
    ],
)
def test_a_candidate_that_nobody_chose_is_pinned(
    candidate: str | None, switches: int, line: str
) -> None:
    assert line_of("candidate", candidate, switches) == line


@pytest.mark.parametrize(
    ("model", "version", "line"),
    [("", "", "cloud     10.0.0.2:50051"), ("lite0", "6", "cloud     10.0.0.2:50051, lite0 6")],
)
def test_the_cloud_is_told_with_what_it_calls_the_model(
    model: str, version: str, line: str
) -> None:
    link = LinkStatus(state="up", cloud="10.0.0.2:50051", model=model, version=version)
    assert line_of("cloud", link=link) == line


def test_another_version_is_told() -> None:
    update = UpdateStatus(model="lite0", version="7", fingerprint="ab" * 32)
    line = line_of("update", update=update)
    assert line.startswith("update    lite0 7 abababababab is the cloud's active version")


def test_what_becomes_of_a_bundle_from_the_cloud_is_told() -> None:
    supply = SupplyStatus(model="lite0", state="starting")
    assert line_of("supply", supply=supply) == "supply    lite0: starting"
    supply = replace(supply, version="7", fingerprint="ab" * 32, state="fetching", share=0.405)
    assert line_of("supply", supply=supply) == "supply    lite0 7 abababababab: fetching, 40%"
    supply = replace(supply, state="refused", share=None, fault="not signed")
    assert line_of("supply", supply=supply) == "supply    lite0 7 abababababab: refused: not signed"
