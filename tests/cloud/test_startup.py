"""What is said of a store's folder before anything is loaded from it."""

import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

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
