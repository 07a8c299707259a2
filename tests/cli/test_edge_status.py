"""What `isthmus edge status` prints of a daemon's answer."""

import pytest

from isthmus_cli.edge_status import status_lines
from isthmus_edge.daemon.status import AgentStatus, Counts, LinkStatus, Status


def line_of(kind: str, candidate: str | None, switches: int) -> str:
    """The line of this kind, of an agent with this candidate."""
    agent = AgentStatus(
        answers=True,
        candidate=candidate,
        rung=None,
        switches=switches,
        link=LinkStatus(state="none"),
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
