"""A reload: everything new is opened first; if any of it fails, all stays as it was."""

import asyncio
import logging
from dataclasses import dataclass

from isthmus import ConfigError, IsthmusError
from isthmus_edge.daemon.feed import Feed
from isthmus_edge.daemon.logs import Tell
from isthmus_edge.daemon.output import Output, Sink, open_sinks
from isthmus_edge.daemon.parts import (
    OpenAgent,
    Parts,
    fingerprint_of,
    open_sources,
    require_memory,
    require_pictures,
    start_endpoint,
)
from isthmus_edge.daemon.sections import DaemonConfig
from isthmus_edge.daemon.serving import Answering
from isthmus_edge.daemon.sources import Source

__all__ = ["take_over"]


@dataclass(slots=True)
class _New:
    """What a new configuration needs and the old one has not."""

    sinks: list[Sink] | None
    sources: dict[str, Source]
    agent: Answering | None
    fingerprint: str


async def take_over(
    parts: Parts, config: DaemonConfig, open_agent: OpenAgent, tell: Tell
) -> list[Feed]:
    """Change `parts` to `config` without losing an accepted frame; the feeds that are to start.

    Raises IsthmusError where that cannot be; then nothing has changed.
    """
    new = await _opened(parts, config, open_agent, tell)
    before = None
    if new.agent is not None:
        before = await asyncio.to_thread(parts.serving.change, new.agent)
    try:
        await _change_endpoint(parts, config)
    except BaseException:
        await _undo(parts, new.agent, before, tell)
        raise
    drain_s, parts.fingerprint = parts.config.service.drain_s, new.fingerprint
    started = await _change_feeds(parts, config, new.sources, tell)
    await _change_output(parts, config, new.sinks, tell)
    parts.config = config
    if before is not None:
        await asyncio.to_thread(parts.serving.retire, before, drain_s)
    return started


async def _opened(parts: Parts, config: DaemonConfig, open_agent: OpenAgent, tell: Tell) -> _New:
    old = parts.config
    if config.service.control != old.service.control:
        raise ConfigError("[service] control cannot change while the daemon runs; restart it")
    if config.dashboard != old.dashboard:
        raise ConfigError("[dashboard] cannot change while the daemon runs; restart it")
    sinks = None if config.output == old.output else open_sinks(config.output)
    fresh = {n: s for n, s in config.sources.items() if old.sources.get(n) != s}
    sources = open_sources(fresh, tell, parts.stdin)
    fingerprint = await asyncio.to_thread(fingerprint_of, config.agent)
    if config.agent == old.agent and fingerprint == parts.fingerprint:
        return _New(sinks, sources, None, fingerprint)
    require_memory()
    agent = await asyncio.to_thread(open_agent, config.agent)
    try:
        if config.sources:
            require_pictures(agent.manifest)
    except ConfigError:
        await asyncio.to_thread(agent.close, 0.0)
        raise
    return _New(sinks, sources, agent, fingerprint)


async def _change_endpoint(parts: Parts, config: DaemonConfig) -> None:
    """Its addresses, or only what it serves. Where both have an address, the old one goes first.

    `parts.endpoint` is None where that one has gone and no other has come.
    """
    old = parts.config
    if config.endpoint == old.endpoint and parts.endpoint is not None:
        parts.endpoint.use(parts.serving)
        return
    drain_s, before = old.service.drain_s, parts.endpoint
    if before is not None and not set(config.endpoint.listen).isdisjoint(old.endpoint.listen):
        await before.stop(drain_s)
        before = parts.endpoint = None
    parts.endpoint = await start_endpoint(config, parts.serving)
    if before is not None:
        await before.stop(drain_s)


async def _undo(
    parts: Parts, agent: Answering | None, before: Answering | None, tell: Tell
) -> None:
    """The agent first: an endpoint serves the model that it finds when it is opened."""
    if before is not None:
        await asyncio.to_thread(parts.serving.change_back, before)
    try:
        if parts.endpoint is None:
            parts.endpoint = await start_endpoint(parts.config, parts.serving)
    except (IsthmusError, OSError) as error:
        tell("endpoint_lost", logging.ERROR, reason=f"{error}; reload once it can be had again")
    if agent is not None:
        await asyncio.to_thread(parts.serving.retire, agent, parts.config.service.drain_s)


async def _change_feeds(
    parts: Parts, config: DaemonConfig, sources: dict[str, Source], tell: Tell
) -> list[Feed]:
    """Stop those that changed or are gone; those that did not change go on without noticing."""
    old = parts.config
    ended = [n for n in parts.feeds if config.sources.get(n) != old.sources.get(n)]
    for name in ended:
        parts.feeds[name].stop()
    for name in ended:
        await asyncio.to_thread(parts.feeds.pop(name).join, old.service.drain_s)
    started = {name: Feed(name, source, parts.desk, tell) for name, source in sources.items()}
    parts.feeds |= started
    return list(started.values())


async def _change_output(
    parts: Parts, config: DaemonConfig, sinks: list[Sink] | None, tell: Tell
) -> None:
    if sinks is not None:
        before = parts.desk.change(Output(sinks, tell), config.output)
        await asyncio.to_thread(before.close, parts.config.service.drain_s)
