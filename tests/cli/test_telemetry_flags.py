"""`--traces` and its neighbours: spans of a command arrive, and what is wrong is named."""

import argparse
from pathlib import Path

import pytest
from tests.cli.conftest import PHOTOS, Isthmus
from tests.collector import collecting
from tests.commands import assert_explained

from isthmus import ConfigError
from isthmus.tracing import TraceSettings
from isthmus_cli.telemetry_flags import add_telemetry_flags, trace_settings


def test_spans_of_the_device_arrive_at_the_collector(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path
) -> None:
    with collecting() as collector:
        ended = isthmus("edge", tiny_bundle, photos, "--traces", collector.endpoint)
        names = collector.names
        (resource, *_) = collector.resources
    assert (ended.status, ended.err) == (0, "")
    assert names == sorted(["frame", "head", "wait"] * PHOTOS)
    assert resource["service.name"] == "isthmus-edge"


def test_a_share_of_none_sends_nothing(isthmus: Isthmus, tiny_bundle: Path, photos: Path) -> None:
    with collecting() as collector:
        flags = ("--traces", collector.endpoint, "--trace-share", 0)
        assert isthmus("edge", tiny_bundle, photos, *flags).status == 0
        assert collector.names == []


def test_a_collector_that_is_none_is_named(
    isthmus: Isthmus, tiny_bundle: Path, photos: Path
) -> None:
    ended = isthmus("edge", tiny_bundle, photos, "--traces", "collector:4317")
    assert_explained(ended, "collector:4317", "http://HOST:PORT")


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_telemetry_flags(parser)
    return parser.parse_args(arguments)


def test_the_service_traces_nothing_unless_told_where_to() -> None:
    assert trace_settings(options()) is None
    assert options().log_format == "auto"
    given = options("--traces", "https://collector:4317", "--trace-share", "0.5")
    assert trace_settings(given) == TraceSettings(endpoint="https://collector:4317", share=0.5)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--traces", "collector"), "collector"),
        (("--traces", "http://c:1", "--trace-share", "7"), "trace_share is 7"),
    ],
)
def test_the_services_flags_are_checked(arguments: tuple[str, ...], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        trace_settings(options(*arguments))
