"""What a running daemon is made of, opened from its settings and closed in order."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from isthmus import ConfigError, Manifest
from isthmus.bundle import read_manifest
from isthmus.memory import resident_bytes
from isthmus_edge.config import AgentConfig
from isthmus_edge.control_group import available_memory_bytes
from isthmus_edge.daemon.feed import Desk, Feed
from isthmus_edge.daemon.logs import Tell
from isthmus_edge.daemon.output import Output, open_sinks
from isthmus_edge.daemon.sections import DaemonConfig, SourceSection
from isthmus_edge.daemon.serving import Answering, Serving
from isthmus_edge.daemon.sources import Source, StdinLines, open_source
from isthmus_edge.oip import Endpoint
from isthmus_edge.unix_sockets import UnixSocket

LAST_S = 1.0  # beyond `drain_s`, for what only has to be written down

OpenAgent = Callable[[AgentConfig], Answering]

__all__ = [
    "OpenAgent",
    "Parts",
    "close_parts",
    "fingerprint_of",
    "open_parts",
    "open_sources",
    "require_memory",
    "require_pictures",
]


@dataclass(slots=True)
class Parts:
    """The daemon's parts as they are now; a reload exchanges some of them, but never `stdin`."""

    config: DaemonConfig
    fingerprint: str
    serving: Serving
    desk: Desk
    stdin: StdinLines
    endpoint: Endpoint | None = None
    feeds: dict[str, Feed] = field(default_factory=dict)


async def open_parts(config: DaemonConfig, open_agent: OpenAgent, tell: Tell) -> Parts:
    """Everything but the sources' threads, which `Feed.start` begins.

    Raises the IsthmusError of what cannot be opened, having closed what was.
    """
    sinks = open_sinks(config.output)
    stdin = StdinLines()
    sources = open_sources(config.sources, tell, stdin)
    fingerprint = await asyncio.to_thread(fingerprint_of, config.agent)
    agent = await asyncio.to_thread(open_agent, config.agent)
    try:
        if sources:
            require_pictures(agent.manifest)
        serving = await asyncio.to_thread(Serving, agent)
        endpoint = await start_endpoint(config, serving)
    except BaseException:
        await asyncio.to_thread(agent.close, 0.0)
        raise
    desk = Desk(serving, Output(sinks, tell), config.output)
    feeds = {name: Feed(name, source, desk, tell) for name, source in sources.items()}
    return Parts(config, fingerprint, serving, desk, stdin, endpoint, feeds)


async def start_endpoint(config: DaemonConfig, serving: Serving) -> Endpoint | None:
    """The endpoint, listening; None where none is wanted. ConfigError for an address in use."""
    settings = config.endpoint.config()
    if settings is None:
        return None
    for address in settings.addresses:
        if isinstance(address, UnixSocket):  # below /run nothing outlives the machine
            address.make_folder(settings.socket_mode)
    endpoint = Endpoint(settings, serving)
    await endpoint.start()
    return endpoint


def open_sources(
    sections: Mapping[str, SourceSection], tell: Tell, stdin: StdinLines
) -> dict[str, Source]:
    """The sources by their names; nothing of them is touched yet."""
    return {name: open_source(section, name, tell, stdin) for name, section in sections.items()}


def fingerprint_of(config: AgentConfig) -> str:
    """That of the bundle as it lies there now. BundleError if it has no manifest."""
    _, fingerprint = read_manifest(config.bundle)
    return fingerprint


def require_pictures(manifest: Manifest) -> None:
    """ConfigError unless the model takes one picture, which is all that sources give."""
    specs = manifest.inputs
    if len(specs) == 1 and specs[0].data_type == "uint8" and specs[0].shape[2:] == (3,):
        return
    wanted = ", ".join(f"{spec.name!r} {spec.data_type} {list(spec.shape)}" for spec in specs)
    raise ConfigError(
        f"the model of this bundle takes {wanted} and no picture: leave the sources out, and hand "
        "it tensors through the [endpoint]"
    )


def require_memory() -> None:
    """ConfigError unless there is room for a second agent beside this one, which is then ended.

    A system that does not say how much room there is gets the benefit of the doubt.
    """
    rss_bytes = resident_bytes()
    free_bytes = available_memory_bytes()
    if free_bytes is not None and free_bytes < rss_bytes:
        raise ConfigError(
            f"{free_bytes / 1e6:.0f} MB of memory are free, and a second agent beside this one "
            f"may take {rss_bytes / 1e6:.0f} MB; restart the daemon instead"
        )


async def close_parts(parts: Parts, tell: Tell) -> None:
    """Take nothing more, bring everything to its end within `drain_s`, write it down."""
    last_s = time.monotonic() + parts.config.service.drain_s
    for feed in parts.feeds.values():
        feed.stop()
    if parts.endpoint is not None:
        await parts.endpoint.stop(_left_s(last_s))
    for feed in parts.feeds.values():
        await asyncio.to_thread(feed.join, _left_s(last_s))
    stats = await asyncio.to_thread(parts.serving.close, _left_s(last_s))
    for feed in parts.feeds.values():
        await asyncio.to_thread(feed.join, LAST_S)
    if not await asyncio.to_thread(parts.desk.output.close, _left_s(last_s) + LAST_S):
        _tell_what_hangs(parts, tell)
    tell(
        "agent_closed",
        accepted=stats.accepted,
        answered=stats.answered_cloud + stats.answered_device,
        errors=stats.errors,
    )


def _tell_what_hangs(parts: Parts, tell: Tell) -> None:
    """The output, or a source that was promised room and never came back with a line."""
    if not parts.desk.output.owes_nothing:
        tell("output_hangs", 40, reason="what is not written yet is lost")
        return
    names = [name for name, feed in parts.feeds.items() if not feed.join(0.0)]
    tell("source_hangs", 40, sources=names, reason="what it was handing in has no answer")


def _left_s(last_s: float) -> float:
    return max(0.0, last_s - time.monotonic())
