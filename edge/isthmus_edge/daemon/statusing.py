"""From the daemon's parts to what it says of them."""

from dataclasses import asdict

from isthmus_edge.answer import Stats
from isthmus_edge.daemon.parts import Parts
from isthmus_edge.daemon.status import AgentStatus, LinkStatus, UpdateStatus

EVENTS_TOLD = 16

__all__ = ["agent_status", "bundle_status"]


def bundle_status(parts: Parts) -> dict[str, str]:
    """Which bundle is served."""
    return {
        "path": str(parts.config.agent.bundle),
        "model": parts.serving.manifest.model_name,
        "fingerprint": parts.fingerprint,
    }


def agent_status(stats: Stats, answers: bool) -> AgentStatus:
    """The agent by its last figures; `answers`: they are of this moment."""
    link, service, update = stats.link, stats.service, stats.update
    return AgentStatus(
        answers=answers,
        candidate=stats.candidate,
        rung=stats.rung,
        switches=len(stats.switches),
        link=LinkStatus(
            state=stats.link_state,
            bandwidth_bps=None if link is None else link.bandwidth_bps,
            rtt_ms=None if link is None else link.rtt_ms,
            cloud=None if service is None else service.address,
            model="" if service is None else service.model,
            version="" if service is None else service.version,
        ),
        events=[event.text for event in stats.events[-EVENTS_TOLD:]],
        update=None if update is None else UpdateStatus(**asdict(update)),
    )
