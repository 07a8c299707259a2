"""What energy and machines cost, read from a small TOML file; the defaults are one, too.

`PRICES_EXAMPLE` is the documented file that the defaults come from.
"""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from math import isfinite
from pathlib import Path

from isthmus import ConfigError

__all__ = [
    "DEFAULT_PRICES",
    "PRICES_EXAMPLE",
    "CloudPrices",
    "DevicePower",
    "Prices",
    "read_prices",
]

PRICES_EXAMPLE = files(__package__).joinpath("prices.toml").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePower:
    """What the device draws, in watts, and its radio, in joules for 10^6 bytes sent or received.

    `radio_w` comes on top of `idle_w` while payload or answer are on the link: the linear model of
    Huang et al. (MobiSys 2012), power = base + rate * energy of a byte.
    """

    active_w: float
    idle_w: float
    radio_w: float
    radio_j_per_mb: float
    radio_answer_j_per_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudPrices:
    """In any one currency: an hour of the machine and of its software, 10^9 bytes in and out."""

    machine_per_hour: float
    software_per_hour: float
    network_per_gb: float
    answers_per_gb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What the objectives `edge-energy` and `cloud-cost` are made of."""

    device: DevicePower
    cloud: CloudPrices


def read_prices(path: Path) -> Prices:
    """Prices from a TOML file; what it leaves out is as in the default.

    Raises ConfigError for a file that cannot be read, an unknown key or an impossible value.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); name a TOML file") from error
    return _parsed(text, str(path), DEFAULT_PRICES)


def _parsed(text: str, where: str, default: Prices | None) -> Prices:
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not a TOML file ({error})") from error
    _refuse_unknown(given, [field.name for field in fields(Prices)], f"{where}: unknown table")
    known: dict[str, dict[str, float]] = {} if default is None else asdict(default)
    device, cloud = (
        known.get(name, {}) | _numbers(kind, given.get(name, {}), f"{where}: [{name}]")
        for name, kind in (("device", DevicePower), ("cloud", CloudPrices))
    )
    return Prices(device=DevicePower(**device), cloud=CloudPrices(**cloud))


def _numbers(
    kind: type[DevicePower] | type[CloudPrices], table: object, where: str
) -> dict[str, float]:
    allowed = [field.name for field in fields(kind)]
    if not isinstance(table, dict):
        raise ConfigError(f"{where} is no table; it holds {', '.join(allowed)}")
    _refuse_unknown(table, allowed, f"{where} unknown key")
    for key, value in table.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not isfinite(value) or value < 0:
            raise ConfigError(f"{where} {key} is {value!r}; allowed: a number of 0 or more")
    return {key: float(value) for key, value in table.items()}


def _refuse_unknown(given: Iterable[str], allowed: Sequence[str], what: str) -> None:
    for key in given:
        if key not in allowed:
            raise ConfigError(f"{what} {key!r}; allowed: {', '.join(allowed)}")


DEFAULT_PRICES = _parsed(PRICES_EXAMPLE, "prices.toml", None)
