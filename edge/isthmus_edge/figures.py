"""An agent's running figures, gathered from where they are kept."""

from isthmus import Candidate
from isthmus.memory import resident_bytes
from isthmus_edge.answer import Stats
from isthmus_edge.events import Events
from isthmus_edge.ledger import Ledger
from isthmus_edge.stream.pipeline import Pipeline

__all__ = ["figures"]


def figures(
    ledger: Ledger, pipeline: Pipeline, events: Events, pin: Candidate | None = None
) -> Stats:
    """As they are now; asked on the agent's own loop, or when that has ended.

    `pin` is what the agent's settings pin every frame to.
    """
    uplink = pipeline.uplink
    stale, cancelled = ledger.settled("stale"), ledger.settled("cancelled")
    return Stats(
        accepted=ledger.accepted,
        answered_cloud=ledger.settled("cloud"),
        answered_device=ledger.settled("device"),
        errors=ledger.settled("error") + stale + cancelled,
        stale=stale,
        pending=ledger.pending,
        duplicates=0 if uplink is None else uplink.duplicates,
        connects=0 if uplink is None else uplink.connects,
        sent_again=pipeline.sent_again,
        link_state="none" if uplink is None else uplink.state,
        link=None if uplink is None else uplink.estimate(),
        candidate=pipeline.in_use if pin is None else pin.id,
        rung=pipeline.rung if pin is None else pin.chosen,
        rate_advice=pipeline.rate_advice,
        device_scale=pipeline.device_scale,
        switches=tuple(pipeline.switches),
        audits=pipeline.audits.stats(),
        events=events.kept,
        ended_twice=ledger.ended_twice,
        cancelled=cancelled,
        rss_bytes=resident_bytes(),
        service=None if uplink is None else uplink.service,
        update=None if uplink is None else uplink.update,
        moves=0 if uplink is None else uplink.balancing.moves,
    )
