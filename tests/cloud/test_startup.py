"""What is said of a store's folder before anything is loaded from it."""

import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from isthmus_cloud import ServiceConfig, startup
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.startup import open_store


@pytest.mark.parametrize("mounted", [os.ST_RDONLY, 0])
def test_a_store_that_is_mounted_read_only_is_nothing_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mounted: int
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=mounted))
    assert open_store(tmp_path, ()).models() == ()
    (line,) = caplog.records
    assert ("read-only" in line.getMessage()) == bool(mounted)
    assert ("chown" in line.getMessage()) == (not mounted)
    assert line.levelno == (logging.INFO if mounted else logging.WARNING)


def test_models_are_loaded_for_as_many_workers_and_threads_as_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Cores] = []
    monkeypatch.setattr(startup, "open_engine", lambda *settings: given.append(settings[2]))
    config = ServiceConfig(store=tmp_path, threads=6, workers=3)
    core: Any = SimpleNamespace(desk=None)
    loader = startup._loader(config, core, lambda _: None)
    bundle: Any = None
    loader.open_engine(bundle)
    assert given == [loader.cores]
    assert (given[0].alone, given[0].beside) == (6, 2)
