"""`isthmus edge`: flags in any order, sizes, the table of figures."""

import argparse
import json
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.commands import Cloud

from isthmus_cli.edge_flags import add_flags, agent_config, size


def test_flags_may_stand_anywhere(isthmus: Isthmus, tiny_bundle: Path, photos: Path) -> None:
    first, second = photos / "photo-0.png", photos / "photo-1.png"
    ended = isthmus("edge", "--top", 1, tiny_bundle, "--power", "saver", first, "--stats", second)
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["photo-0.png", "photo-1.png"]


def test_a_table_of_figures_ends_the_run_where_it_is_asked_for(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path, cloud: Cloud
) -> None:
    flags = ("--cloud", cloud.address, "--candidate", "cut-16", "--audit-share", 1)
    ended = isthmus("edge", tiny_bundle, photos, *flags, "--stats")
    assert (ended.status, ended.err) == (0, "")
    table = ended.out.partition("accepted ")[2].splitlines()[1:]
    rows = {line[:16].rstrip(): line[16:].strip() for line in table}
    megabytes, unit = rows["memory (RSS)"].split()
    assert unit == "MB"
    assert float(megabytes) > 10
    assert rows["link"].startswith("up")
    assert rows["cloud"].startswith(f"{cloud.address}, ")
    assert "compared" in rows["audits"]


def test_of_several_addresses_one_that_is_there_is_taken(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path, cloud: Cloud
) -> None:
    several = f"127.0.0.1:1,{cloud.address}"
    flags = ("--cloud", several, "--candidate", "cut-16", "--require-cloud", "--json")
    ended = isthmus("edge", tiny_bundle, photos / "photo-0.png", *flags)
    assert (ended.status, ended.err) == (0, "")
    report = json.loads(ended.out)
    assert report["stats"]["service"]["address"] == cloud.address
    assert report["answers"][0]["place"] == "cloud"


@pytest.mark.parametrize(("flags", "balance"), [((), True), (("--no-balance",), False)])
def test_a_device_balances_unless_it_is_told_not_to(flags: tuple[str, ...], balance: bool) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    options = parser.parse_args(["a.bundle", "cat.png", "--cloud", "127.0.0.1:1", *flags])
    assert agent_config(options).balance is balance


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--cloud", "127.0.0.1:1", "--token-file", "none"), ("none: No such file", "token_file")),
        (("--cloud", "127.0.0.1:1", "--tls-cert", "a"), ("--tls-key", "give both")),
        (("--cloud", "a:1,10.0.0.1:2"), ("'a:1' is not this machine", "--tls-ca")),
        (("--cloud", "127.0.0.1:1,"), ("''", "dns:NAME:PORT")),
    ],
)
def test_what_the_cloud_cannot_be_reached_with_is_explained(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path, flags: tuple[str, ...], words: tuple[str]
) -> None:
    ended = isthmus("edge", tiny_bundle, photos, *flags)
    assert ended.status == 1
    assert [word for word in words if word not in ended.err] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("BUNDLE", "--config")),
        (("a.bundle",), ("PICTURE", "--inputs")),
        (("a.bundle", "cat.png", "--inputs", "a.npz"), ("--inputs", "PICTURE")),
        (("--config", "a.toml", "a.bundle"), ("BUNDLE", "not beside --config")),
        (("--config", "a.toml", "--cloud", "a:1"), ("--cloud", "not beside --config")),
        (("--config", "a.toml", "--no-balance"), ("--no-balance", "not beside --config")),
        (("a.bundle", "cat.png", "--log-format", "json"), ("--log-format", "--config")),
        (("a.bundle", "cat.png", "--max-memory", "much"), ("'much'", "300MB")),
        (("a.bundle", "cat.png", "--runtime", "abacus"), ("abacus", "onnxruntime")),
    ],
    ids=lambda value: " ".join(value) if value and value[0] != "BUNDLE" else "",
)
def test_flags_that_make_no_command_are_wrong_usage(
    isthmus: Isthmus, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ended = isthmus("edge", *arguments)
    assert ended.status == 2
    assert [word for word in words if word not in ended.err.splitlines()[-1]] == []


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("1000", 1000), ("20KB", 20_000), ("300MB", 300_000_000), ("2gb", 2e9)]
)
def test_a_size_may_have_a_unit(text: str, size_bytes: int) -> None:
    assert size(text) == size_bytes
