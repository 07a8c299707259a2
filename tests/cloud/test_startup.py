"""What is said of a store's folder before anything is loaded from it."""

import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from isthmus import ConfigError, open_bundle
from isthmus_cloud import Core, ServiceConfig, startup
from isthmus_cloud.deployments.loading import LocalTails
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.faces.binding import message_bytes
from isthmus_cloud.startup import open_store, start_up


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


@pytest.mark.parametrize("lacking", [1, 0])
async def test_messages_that_are_too_small_for_the_bundle_are_told_before_a_tail_is_loaded(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, lacking: int
) -> None:
    class LoadingError(Exception):
        """It came so far."""

    def loading(*_: object) -> None:
        raise LoadingError

    monkeypatch.setattr(startup, "open_engine", loading)
    needed = message_bytes([open_bundle(tiny_bundle, "cloud").manifest])
    config = ServiceConfig(bundle=tiny_bundle, max_message_bytes=needed - lacking)
    with DiskThreads() as disk:
        async with Core(config) as core:
            if not lacking:
                with pytest.raises(LoadingError):
                    await start_up(config, core, print, disk)
                return
            with pytest.raises(ConfigError, match=f"at least --max-message-bytes {needed}"):
                await start_up(config, core, print, disk)


def test_models_are_loaded_for_as_many_workers_and_threads_as_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Cores] = []
    monkeypatch.setattr(startup, "open_engine", lambda *settings: given.append(settings[2]))
    config = ServiceConfig(store=tmp_path, threads=6, workers=3)
    source = startup._local_tails(config, lambda _: None)
    assert isinstance(source, LocalTails)
    bundle: Any = None
    source.open_engine(bundle)
    assert given == [source.cores]
    assert (given[0].alone, given[0].beside) == (6, 2)
