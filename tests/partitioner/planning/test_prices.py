"""Prices come from a small documented TOML file, and nothing in it is silently ignored."""

from dataclasses import asdict
from pathlib import Path

import pytest

from isthmus import ConfigError
from isthmus_partitioner.planning.prices import DEFAULT_PRICES, PRICES_EXAMPLE, Prices, read_prices


def read(folder: Path, text: str) -> Prices:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return read_prices(path)


def test_the_example_is_a_file_of_the_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, PRICES_EXAMPLE) == DEFAULT_PRICES


def test_the_example_explains_every_key() -> None:
    for table, keys in asdict(DEFAULT_PRICES).items():
        assert f"[{table}]" in PRICES_EXAMPLE
        for key in keys:
            (line,) = (line for line in PRICES_EXAMPLE.splitlines() if line.startswith(key))
            assert "#" in line
    assert "ASSUMPTIONS" in PRICES_EXAMPLE


def test_what_a_file_leaves_out_is_as_in_the_default(tmp_path: Path) -> None:
    given = read(tmp_path, "[cloud]\nnetwork_per_gb = 5\n")
    assert given.cloud.network_per_gb == 5.0
    assert given.cloud.machine_per_hour == DEFAULT_PRICES.cloud.machine_per_hour
    assert given.device == DEFAULT_PRICES.device


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[edge]\nactive_w = 1", "unknown table 'edge'; allowed: device, cloud"),
        ("[device]\nwatts = 1", r"\[device\] unknown key 'watts'; allowed: active_w, idle_w"),
        ("device = 3", r"\[device\] is no table; it holds active_w"),
        ("[device]\nactive_w = -1", "active_w is -1; allowed: a number of 0 or more"),
        ("[device]\nidle_w = nan", "idle_w is nan"),
        ("[device]\nidle_w = inf", "idle_w is inf"),
        ("[cloud]\nnetwork_per_gb = true", "network_per_gb is True"),
        ("[cloud]\nnetwork_per_gb = '3 USD'", "network_per_gb is '3 USD'"),
        ("[cloud\n", "not a TOML file"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_by_name(
    tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(ConfigError, match=f"own.toml: .*{named}"):
        read(tmp_path, text)


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read"):
        read_prices(tmp_path / "missing.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.toml: cannot be read"):
        read_prices(binary)
