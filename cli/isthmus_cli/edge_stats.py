"""What a run of `isthmus edge` comes to: its closing line, and the table of `--stats`."""

from collections.abc import Iterator

from isthmus_edge import Service, Stats

__all__ = ["stats_lines", "summary"]


def summary(stats: Stats) -> str:
    """All that a run comes to: counts, and a second line where the link was too thin."""
    lost = stats.accepted - stats.answered_cloud - stats.answered_device - stats.errors
    line = (
        f"accepted {stats.accepted}, answered {stats.answered_cloud + stats.answered_device} "
        f"(cloud {stats.answered_cloud}, device {stats.answered_device}), "
        f"errors {stats.errors}, lost {lost}, switches {len(stats.switches)}"
    )
    if stats.candidate is not None:
        line += f", last {stats.candidate} at rung {stats.rung}"
    if stats.rate_advice is not None:
        line += f"\nno allowed rung fits the link: {stats.rate_advice}"
    return line


def stats_lines(stats: Stats) -> Iterator[str]:
    """A table for people: memory, link, what was sent again, audits by rung, switches."""
    yield _row("memory (RSS)", f"{stats.rss_bytes / 1e6:.1f} MB")
    yield _row("link", _link(stats))
    if stats.service is not None:
        yield _row("cloud", _service(stats.service))
    moves = f", {stats.moves} moves to less loaded services" if stats.moves else ""
    again = f"{stats.sent_again} frames sent again"
    yield _row("streams", f"{stats.connects} opened{moves}, {again}")
    yield _row("dropped", f"{stats.stale} stale frames, {stats.duplicates} second answers")
    yield _row("device", f"{stats.device_scale:.2f} times the plan's times")
    audits = stats.audits
    yield _row(
        "audits",
        f"{audits.checked} compared, {audits.agreed} agreed, {audits.not_compared} not compared, "
        f"{audits.dropped} dropped",
    )
    for rung, each in audits.by_rung.items():
        drift = ", has drifted" if each.has_drifted else ""
        yield _row(f"  {rung}", f"{each.checked} compared, {each.agreed} agreed{drift}")
    for switch in stats.switches:
        change = f"{switch.before or 'none'} -> {switch.after}"
        yield _row("switch", f"{switch.at_s:.1f} s  {change}: {switch.reason}")
    for event in stats.events:
        yield _row("event", f"{event.at_s:.1f} s  {event.text}")


def _row(name: str, text: str) -> str:
    return f"{name:<16} {text}"


def _service(service: Service) -> str:
    named = f", {service.model} {service.version}".rstrip() if service.model else ""
    return f"{service.address}{named}, tails run on {service.provider}"


def _link(stats: Stats) -> str:
    if stats.link is None:
        return stats.link_state
    return (
        f"{stats.link_state}, {stats.link.bandwidth_bps / 1e6:.2f} Mbit/s, "
        f"round trip {stats.link.rtt_ms:.1f} ms"
    )
