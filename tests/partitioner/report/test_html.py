"""The page as a file: a stranger's names stay inside its data, and it is whole or not there."""

import base64
import errno
import hashlib
import os
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest
from tests.partitioner.report.pages import CUTS, LAYERS, REPORT, Elements

from isthmus import ConfigError
from isthmus_partitioner.planning.envelope import FASTEST_BPS, LOCAL_ADVANTAGE, SLOWEST_BPS
from isthmus_partitioner.report.data import CutRow, ReportData, head_layers
from isthmus_partitioner.report.html import View, render_html, save_page


class PageData(msgspec.Struct, rename="camel"):
    """What the page's script reads."""

    report: ReportData
    heads: dict[str, tuple[int, ...]]
    local_advantage: float
    slowest_bps: float
    fastest_bps: float


@pytest.fixture(scope="module")
def page() -> str:
    return render_html(REPORT)


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    return Elements(page)


def data_of(elements: Elements) -> PageData:
    return msgspec.json.decode(elements.scripts[0], type=PageData)


def test_the_data_of_the_page_is_the_report(elements: Elements) -> None:
    data = data_of(elements)
    assert data.report == REPORT
    expected = (LOCAL_ADVANTAGE, SLOWEST_BPS, FASTEST_BPS)
    assert (data.local_advantage, data.slowest_bps, data.fastest_bps) == expected


def test_the_page_has_three_scripts_whatever_the_names_say(elements: Elements) -> None:
    assert len(elements.scripts) == 3
    assert "hacked" not in elements.scripts[1] + elements.scripts[2]


def test_the_policy_admits_the_two_scripts_by_their_content_and_no_address(
    elements: Elements,
) -> None:
    (policy,) = (
        attributes["content"] or ""
        for tag, attributes in elements.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digests = [hashlib.sha256(script.encode()).digest() for script in elements.scripts[1:]]
    hashes = {f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests}
    assert rules["default-src"] == "'none'"
    assert set(rules["script-src"].split()) == hashes
    assert "http" not in policy
    assert "*" not in policy


def test_no_element_names_an_address(elements: Elements) -> None:
    addresses = [
        attributes.get(name)
        for _, attributes in elements.tags
        for name in ("src", "href", "action", "data", "srcset")
        if attributes.get(name) is not None
    ]
    assert [address for address in addresses if not str(address).startswith("data:")] == []


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (CUTS[0], ()),
        (CUTS[1], (0, 1)),
        (CUTS[2], (0, 1, 2, 3, 4)),
        (CUTS[3], tuple(range(len(LAYERS)))),
    ],
    ids=["input", "one tensor", "two tensors", "local"],
)
def test_the_head_is_all_that_its_last_layers_need(
    elements: Elements, cut: CutRow, expected: tuple[int, ...]
) -> None:
    assert head_layers(LAYERS, cut) == expected
    assert data_of(elements).heads[cut.id] == expected


def test_a_view_to_begin_with_is_carried(page: str) -> None:
    begun = render_html(REPORT, View(bandwidth_bps=123_456.0))
    assert '"bandwidth_bps":123456.0' in begun
    assert '"bandwidth_bps":123456.0' not in page


def test_a_page_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    save_page(path, "old")
    save_page(path, "néw\r\n")
    assert path.read_bytes() == "néw\r\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_and_leaves_the_old_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"No space left on device.*make room"):
        save_page(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_file: int) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_page(tmp_path / "report.html", "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["folder", "none/report.html", "file/report.html"])
def test_a_place_that_cannot_hold_the_page_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("in the way")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=str(tmp_path / place)):
        save_page(tmp_path / place, "new")
    assert sorted(tmp_path.rglob("*")) == before
