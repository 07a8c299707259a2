"""What `isthmus edge check` looks at: all that a start looks at, and nothing is started."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from isthmus import (
    AgentClosedError,
    Bundle,
    Manifest,
    open_bundle,
    require_formats,
)
from isthmus.web import WebConfig
from isthmus.web.config import tls_context
from isthmus_edge.answer import Answer
from isthmus_edge.audit.audits import raw_input_way
from isthmus_edge.bundles import Shelf
from isthmus_edge.config import AgentConfig
from isthmus_edge.daemon.control import default_control
from isthmus_edge.daemon.output import open_sinks
from isthmus_edge.daemon.parts import open_sources, require_pictures
from isthmus_edge.daemon.sections import DaemonConfig
from isthmus_edge.daemon.sources import Source, StdinLines
from isthmus_edge.inputs import Inputs
from isthmus_edge.oip import Endpoint
from isthmus_edge.pins import pinned
from isthmus_edge.runtimes import Runtimes, departures, refusals, without_chains
from isthmus_edge.unix_sockets import UnixSocket

__all__ = ["Checked", "checked"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a daemon with these settings would use; `departures` from the plan, in sentences.

    `bundle` is None where one comes from the cloud and none is kept yet, `dashboard` where there is
    no page.
    """

    bundle: Bundle | None
    sources: Mapping[str, Source]
    dashboard: WebConfig | None
    departures: tuple[str, ...]


def checked(config: DaemonConfig) -> Checked:
    """The IsthmusError of the first thing that would keep a daemon from starting, if there is one.

    Not looked at: whether addresses are free and cameras there, whether the cloud answers, and how
    much memory the networks take.
    """
    control = config.service.control or default_control()
    if control is not None:
        UnixSocket(control)
    open_sinks(config.output)
    sources = open_sources(config.sources, lambda *_, **__: None, StdinLines())
    dashboard = config.dashboard.config()
    if dashboard is not None:
        tls_context(dashboard)
    settings = config.endpoint.config()
    bundle = _bundle(config)
    if bundle is None:
        config.agent.credentials.read()
        return Checked(None, sources, dashboard, ())
    if sources:
        require_pictures(bundle.manifest)
    runtimes = Runtimes(config.agent.runtime)
    _check_agent(config.agent, bundle, runtimes)
    if settings is not None:
        Endpoint(settings, _Nobody(bundle.manifest))
    departed = tuple(departures(bundle.manifest, bundle.path, runtimes))
    return Checked(bundle, sources, dashboard, departed)


def _bundle(config: DaemonConfig) -> Bundle | None:
    """The one that an agent would use; None if it would have to be fetched first."""
    if config.bundle is None:
        return open_bundle(config.agent.bundle, "device")
    source = config.bundle.source(config.agent)
    shelf = Shelf(config.bundle.keep_in, config.bundle.model, source.verifier())
    kept = shelf.last_good() or shelf.waiting()
    return None if kept is None else open_bundle(kept.path, "device")


def _check_agent(config: AgentConfig, bundle: Bundle, runtimes: Runtimes) -> None:
    require_formats(bundle.manifest.kept)
    if config.audit_share:
        raw_input_way(bundle.manifest)
    config.credentials.read()
    refused = refusals(bundle.manifest, bundle.path, runtimes)
    if config.candidate is not None:
        pinned(without_chains(bundle.manifest, refused), config.candidate, refused)


class _Nobody:
    """In place of an agent, which would load the networks."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def submit(self, frame: Inputs, deadline_ms: float | None = None) -> "Future[Answer]":
        raise AgentClosedError("nothing is started to be looked over")
