"""A caller's keyword arguments as an `AgentConfig`; what is wrong with one is said by its name."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from isthmus import ConfigError
from isthmus_edge.config import SECRET, AgentConfig

__all__ = ["config_of"]


def config_of(
    bundle: Path | str, cloud: str | Sequence[str] | None, settings: Mapping[str, Any]
) -> AgentConfig:
    """The config of these settings; paths may be given as text.

    Raises ConfigError for a setting that there is not, with the nearest one that there is, and for
    a value of another type.
    """
    hints = get_type_hints(AgentConfig)
    known = [each.name for each in fields(AgentConfig) if each.name not in {"bundle", "cloud"}]
    for name in settings:
        if name not in known:
            raise ConfigError(f"{name!r} is no setting of an agent; {_nearest(name, known)}")
    typed = {name: _typed(name, value, hints[name]) for name, value in settings.items()}
    places = _typed("cloud", cloud, hints["cloud"])
    return AgentConfig(bundle=_typed("bundle", bundle, Path), cloud=places, **typed)


def _nearest(name: str, known: list[str]) -> str:
    nearest = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(known)}"


def _typed(name: str, value: object, hint: Any) -> Any:
    wanted = get_args(hint) or (hint,)
    if get_origin(hint) is Literal:
        return value  # `AgentConfig` names the choices
    if Path in wanted and isinstance(value, str | Path):
        return Path(value)
    if Path in wanted and (value is not None or hint is Path):
        raise ConfigError(f"{name} = {value!r}: give a path")
    try:
        return msgspec.convert(value, hint) if Path not in wanted else None
    except msgspec.ValidationError as error:
        shown = "" if name in SECRET else f" = {value!r}"
        raise ConfigError(f"{name}{shown}: {error}") from error
