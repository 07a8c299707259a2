"""The daemon's file: read, checked and typed before anything is opened."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from isthmus import ConfigError
from isthmus.manifest import MANIFEST_NAME
from isthmus_edge.config import AgentConfig
from isthmus_edge.daemon.keys import Place, nearest, section_of
from isthmus_edge.daemon.sections import (
    BundleSection,
    CameraSection,
    DaemonConfig,
    DashboardSection,
    DirectorySection,
    EndpointSection,
    LogSection,
    OutputSection,
    ServiceSection,
    SourceSection,
    StdinSection,
    VideoSection,
)

MAX_CONFIG_BYTES = 1024 * 1024
KINDS: dict[str, type[SourceSection]] = {
    "directory": DirectorySection,
    "video": VideoSection,
    "camera": CameraSection,
    "stdin": StdinSection,
}
TABLES = {
    "agent": AgentConfig,
    "bundle": BundleSection,
    "endpoint": EndpointSection,
    "output": OutputSection,
    "log": LogSection,
    "service": ServiceSection,
    "dashboard": DashboardSection,
    "source": SourceSection,
}

__all__ = ["parse_config", "read_config"]


def read_config(file: Path) -> DaemonConfig:
    """The settings in a TOML file; ConfigError that names what cannot be used and what can.

    The bundle must be there, unless it is fetched; what is in it is looked at where it is opened.
    """
    try:
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{file}: larger than any configuration; give the daemon's TOML file")
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be read ({error.strerror}); give the daemon's TOML file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is no text in UTF-8 ({error.reason})") from error
    config = parse_config(text, file)
    if config.bundle is not None:
        return config
    manifest = config.agent.bundle / MANIFEST_NAME
    if not os.path.exists(manifest):  # noqa: PTH110 - False, too, behind a folder that is closed
        raise ConfigError(
            f"{Place(file, text, '[agent]').of('bundle')}: bundle = {str(config.agent.bundle)!r}: "
            f"no bundle here (no {MANIFEST_NAME} that this user may see); make one with `isthmus "
            "build MODEL.onnx --out DIR`, or copy it there"
        )
    return config


def parse_config(text: str, file: Path) -> DaemonConfig:
    """As `read_config`; `file` is named in errors, and its folder is where relative paths begin."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: is no TOML: {error}") from error
    top = Place(file, text)
    for name in tables:
        if name not in TABLES:
            raise ConfigError(f"{top.of(name)}: unknown table [{name}]; {nearest(name, TABLES)}")
    bundle, agent = _bundle(tables, Place(file, text, "[bundle]"), Place(file, text, "[agent]"))
    config = DaemonConfig(
        agent=agent,
        bundle=bundle,
        endpoint=_endpoint(tables.get("endpoint", {}), Place(file, text, "[endpoint]")),
        sources=_sources(tables.get("source", []), top),
        output=section_of(OutputSection, tables.get("output", {}), Place(file, text, "[output]")),
        log=section_of(LogSection, tables.get("log", {}), Place(file, text, "[log]")),
        service=section_of(
            ServiceSection, tables.get("service", {}), Place(file, text, "[service]")
        ),
        dashboard=_dashboard(tables.get("dashboard", {}), Place(file, text, "[dashboard]")),
    )
    _check_together(config, file)
    return config


def _bundle(
    tables: Mapping[str, Any], place: Place, of_agent: Place
) -> tuple[BundleSection | None, AgentConfig]:
    """Where the bundle comes from, and the agent that is to use it."""
    table, agent = tables.get("bundle"), tables.get("agent", {})
    if table is None or not isinstance(agent, Mapping):
        return None, section_of(AgentConfig, agent, of_agent)
    section = section_of(BundleSection, table, place, ignored="from")
    if table.get("from") != "cloud":
        raise ConfigError(f"{place.of('from')}: from = {table.get('from')!r}: use 'cloud'")
    if "bundle" in agent:
        raise ConfigError(
            f"{of_agent.of('bundle')}: bundle: not beside [bundle] from = 'cloud'; leave one of "
            "them out"
        )
    config = section_of(AgentConfig, {**agent, "bundle": str(section.folder)}, of_agent)
    try:
        section.source(config)
    except ConfigError as error:
        key = "model" if "model" in str(error) else "from"
        raise ConfigError(f"{place.of(key)}: {error}") from error
    return section, config


def _endpoint(table: object, place: Place) -> EndpointSection:
    section = section_of(EndpointSection, table, place)
    try:
        section.config()
    except ConfigError as error:
        is_loopback = section.loopback is not None and section.loopback in str(error)
        key = "loopback" if is_loopback else "unix"
        raise ConfigError(f"{place.of(key)}: {error}") from error
    return section


def _dashboard(table: object, place: Place) -> DashboardSection:
    section = section_of(DashboardSection, table, place)
    try:
        section.config()
    except ConfigError as error:
        token_file = section.token_file
        is_token = token_file is not None and str(token_file) in str(error)
        raise ConfigError(f"{place.of('token_file' if is_token else 'listen')}: {error}") from error
    return section


def _sources(tables: object, top: Place) -> dict[str, SourceSection]:
    if not isinstance(tables, list):
        raise ConfigError(f"{top.of('source')}: sources are written [[source]], with two brackets")
    sources: dict[str, SourceSection] = {}
    for turn, table in enumerate(tables):
        place = Place(top.file, top.text, "[[source]]", turn)
        kind = _kind(table, place)
        section = section_of(KINDS[kind], table, place, ignored="kind")
        name = section.name or _free_name(kind, sources)
        if name in sources:
            raise ConfigError(
                f"{place.of('name')}: two sources have the name {name!r}; give each another one"
            )
        sources[name] = section
    return sources


def _kind(table: Any, place: Place) -> str:
    if not isinstance(table, dict):
        raise ConfigError(f"{place.of('')}: sources are written [[source]], a table each")
    kind = table.get("kind")
    allowed = " or ".join(map(repr, KINDS))
    if kind is None:
        raise ConfigError(f"{place.of('')}: kind is missing; use {allowed}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{place.of('kind')}: kind = {kind!r}: use {allowed}")
    return kind


def _free_name(kind: str, taken: dict[str, SourceSection]) -> str:
    if kind not in taken:
        return kind
    return next(name for n in range(2, 10_000) if (name := f"{kind}-{n}") not in taken)


def _check_together(config: DaemonConfig, file: Path) -> None:
    sections = config.sources.values()
    if not sections and not config.endpoint.listen:
        raise ConfigError(
            f"{file}: nothing would ever ask this daemon; give an [endpoint] (unix = PATH, "
            "loopback = HOST:PORT) or a [[source]]"
        )
    if sum(isinstance(section, StdinSection) for section in sections) > 1:
        raise ConfigError(f"{file}: two sources read stdin; leave one of them out")
    lossless = [n for n, s in config.sources.items() if not isinstance(s, CameraSection)]
    if lossless and config.agent.when_full != "wait":
        raise ConfigError(
            f"{file}: [agent] when_full = {config.agent.when_full!r} would lose frames of the "
            f"source {lossless[0]!r}; leave it out: cameras drop stale frames by themselves"
        )
    if config.sources and config.output.file is None and not config.output.stdout:
        raise ConfigError(
            f"{file}: the answers to the sources would go nowhere; give [output] file = PATH or "
            "stdout = true"
        )


assert set(KINDS.values()) == set(get_args(SourceSection))
