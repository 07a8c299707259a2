"""The page in a browser: what it says is what the plan says, and nothing leaves it."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.partitioner.report.chromium import Browser, Page, find_chromium
from tests.partitioner.report.pages import CANDIDATES, CUTS, HOSTILE, LAYERS, REPORT, Position

from isthmus_partitioner.planning.envelope import FASTEST_BPS, SLOWEST_BPS
from isthmus_partitioner.report import html
from isthmus_partitioner.report.data import head_layers
from isthmus_partitioner.report.html import render_html, save_page

TIMES, TO = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
HOME, END, LEFT, RIGHT = ("Home", 36), ("End", 35), ("ArrowLeft", 37), ("ArrowRight", 39)
# Draws nothing, but is there at once; the real one takes seconds to read.
FAKE_LIBRARY = """
window.Plotly = {
  react(id) { document.getElementById(id).on = () => {}; },
  update() {},
};
"""
POSITIONS = [
    Position(),
    Position(rtt_ms=40.0),
    Position(rtt_ms=60.0, load=4.0),
    Position(slowdown=0.2),
    Position(slowdown=10.0, load=3.0, rtt_ms=5.0),
    Position(objective="period"),
    Position(objective="period", slowdown=4.0, load=20.0),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    command = find_chromium()
    if command is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    profile = tmp_path_factory.mktemp("chromium")
    with Browser(command, profile) as browser:
        yield browser
    shutil.rmtree(profile, ignore_errors=True)


def written(page: str, folder: Path) -> str:
    path = folder / "report.html"
    save_page(path, page)
    return path.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(render_html(REPORT), tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def loaded(browser: Browser, address: str) -> Page:
    """The page, loaded once: its library takes a second to read."""
    page = browser.page()
    page.size(1280, 900)
    return page.open(address)


@pytest.fixture
def page(loaded: Page) -> Iterator[Page]:
    """The page as it opens, and not a complaint in the end."""
    loaded.evaluate("document.querySelector('#controls [type=reset]').click()")
    loaded.drawn()
    yield loaded
    assert loaded.complaints() == []


def go(page: Page, position: Position) -> None:
    """As a link to the page would: the view stands behind the `#`."""
    page.evaluate(
        f"history.replaceState(null, '', '#{position.address}'); "
        "dispatchEvent(new HashChangeEvent('hashchange'))"
    )
    page.drawn()


def winner(page: Page) -> str:
    return str(page.evaluate("document.getElementById('verdict').dataset.winner"))


def shown_spans(page: Page) -> list[tuple[str, float, float]]:
    items = page.evaluate(
        "[...document.querySelectorAll('#spans li')]"
        ".map(({dataset: d}) => [d.winner, +d.low, +d.high])"
    )
    return [(name, low, high) for name, low, high in items]


def slider(page: Page, name: str, *keys: tuple[str, int]) -> tuple[float, str]:
    """Press keys on a slider; its position and what a screen reader says."""
    found = f"document.getElementById('slider-{name}')"
    page.evaluate(f"{found}.focus()")
    for key, code in keys:
        page.press(key, code=code)
    value, words = page.evaluate(f"[+{found}.value, {found}.getAttribute('aria-valuetext')]")
    return value, words


@pytest.mark.parametrize("position", POSITIONS, ids=str)
def test_who_is_best_where_is_what_the_envelope_says(page: Page, position: Position) -> None:
    go(page, position)
    expected = sorted(
        ((span.low_bps, span.high_bps), name)
        for name, spans in position.spans.items()
        for span in spans
    )
    shown = shown_spans(page)
    assert [name for name, _, _ in shown] == [name for _, name in expected]
    ends = [end for _, low, high in shown for end in (low, high)]
    assert ends == pytest.approx([end for pair, _ in expected for end in pair])
    assert len(shown) > 1


def test_the_winner_changes_where_the_plan_says(page: Page) -> None:
    edges = [span.high_bps for spans in Position(rtt_ms=20.0).spans.values() for span in spans]
    before_last = sorted(edges)[:-1]
    assert len(before_last) >= 3
    for edge_bps in before_last:
        below, above = (Position(edge_bps * factor, rtt_ms=20.0) for factor in (0.999, 1.001))
        seen = []
        for position in (below, above):
            go(page, position)
            seen.append(winner(page))
        assert seen == [below.best.id, above.best.id]
        assert below.best.id != above.best.id


def test_cost_and_bars_add_up_to_the_plans_latency(page: Page) -> None:
    position = Position(2e6, rtt_ms=30.0, load=2.0, slowdown=1.5)
    go(page, position)
    cost = float(page.evaluate("document.getElementById('verdict').dataset.costMs"))
    assert cost == pytest.approx(position.cost_ms(position.best))
    parts = page.evaluate("document.getElementById('bars').data.map(trace => [...trace.x])")
    kept = [row for row in CANDIDATES if row.kept]
    totals = [sum(part[index] for part in parts) for index in range(len(kept))]
    assert totals == pytest.approx([position.cost_ms(row) for row in kept])


def test_sliders_obey_the_keyboard_and_move_the_winner(page: Page) -> None:
    assert slider(page, "bandwidth", HOME) == (0, "10 kbit/s")
    assert winner(page) == Position(SLOWEST_BPS).best.id == "local"
    value, words = slider(page, "bandwidth", RIGHT)
    assert (value, words) == (1, "10.2 kbit/s")
    assert slider(page, "bandwidth", END)[1] == "1 Gbit/s"
    assert winner(page) == Position(FASTEST_BPS * 0.999, rtt_ms=20).best.id == "input-raw"
    assert slider(page, "bandwidth", LEFT)[1] == "977 Mbit/s"


@pytest.mark.parametrize(
    ("name", "words"),
    [("rtt", "500 ms"), ("load", f"tails 50{TIMES} slower"), ("slowdown", f"50{TIMES}")],
)
def test_every_slider_changes_what_the_candidates_cost(page: Page, name: str, words: str) -> None:
    before = page.evaluate("document.getElementById('bars').data.map(trace => [...trace.x])")
    assert slider(page, name, END)[1] == words
    assert page.evaluate("document.getElementById('bars').data.map(t => [...t.x])") != before


def test_every_slider_has_a_label_and_says_its_value(page: Page) -> None:
    described = page.evaluate(
        "[...document.querySelectorAll('input[type=range]')]"
        ".map(s => [s.labels[0].innerText, s.parentElement.querySelector('output').value])"
    )
    assert described == [
        ["Bandwidth", "5.85 Mbit/s"],
        ["Round trip", "20 ms"],
        ["Server load", "idle"],
        ["Edge slow-down", f"1{TIMES}, as planned"],
    ]


def test_the_network_shows_which_layers_the_winning_cut_puts_where(page: Page) -> None:
    sides = set()
    for bandwidth_bps in (SLOWEST_BPS, 5e5, 1.2e6, 5e8):
        position = Position(bandwidth_bps, rtt_ms=0.0)
        go(page, position)
        cut = next(each for each in CUTS if each.id == position.best.cut)
        head = head_layers(LAYERS, cut)
        drawn, count = page.evaluate(
            "(({dataset: d}) => [d.cut, +d.head])(document.getElementById('network'))"
        )
        assert (drawn, count) == (cut.id, len(head))
        colours = page.evaluate("document.getElementById('network').data[2].marker.color")
        assert len(colours) == len(LAYERS)
        first = [index for index, colour in enumerate(colours) if colour == colours[0]]
        assert tuple(first) == (head or tuple(range(len(LAYERS))))
        sides.add(cut.id)
    assert len(sides) == 4


def test_the_table_has_every_candidate_with_its_reason_and_marks_the_best(page: Page) -> None:
    go(page, Position())
    rows = page.evaluate(
        "[...document.querySelectorAll('#candidates tbody tr')]"
        ".map(r => [r.dataset.candidate, r.querySelector('.why').textContent, r.className])"
    )
    assert {name for name, _, _ in rows} == {row.id for row in CANDIDATES}
    plain = [(name, why) for name, why, _ in rows if name != HOSTILE]
    assert all(why == f"the reason of {name}" for name, why in plain)
    assert [name for name, _, marks in rows if "best" in marks] == [Position().best.id]
    assert [name for name, _, marks in rows if "left-out" in marks] == ["never"]


def test_the_layers_are_a_table_for_whom_opens_it(page: Page) -> None:
    details = "document.querySelector('details')"
    page.evaluate(f"{details}.open = true")
    page.drawn()
    names = page.evaluate(f"[...{details}.querySelectorAll('tbody th')].map(n => n.textContent)")
    page.evaluate(f"{details}.open = false")
    assert names[3:] == [layer.name for layer in LAYERS[3:]]
    assert len(names) == len(LAYERS)


def test_the_page_says_what_it_is_based_on(page: Page) -> None:
    text = page.evaluate("document.body.innerText")
    machine, metric = "a machine", "share of equal answers"
    wanted = (machine, metric, f"15.5{TIMES}", "0.95", f"0.930{TO}1.000", "a note")
    assert [words for words in wanted if words not in text] == []


def test_a_strangers_names_are_shown_as_they_are_and_do_nothing(page: Page) -> None:
    assert page.evaluate("typeof window.hacked") == "undefined"
    title = page.evaluate("document.getElementById('model').textContent")
    steering = HOSTILE.replace("\u202e", "\\u{202e}").replace("\u0007", "\\u{7}")
    assert title == f"net {steering}"
    go(page, Position(5e5))
    assert winner(page) == HOSTILE
    labels = page.evaluate("document.getElementById('bars').textContent")
    assert HOSTILE[:20] in labels
    templates = page.evaluate(
        "[...document.getElementById('lines').data, ...document.getElementById('network').data]"
        ".flatMap(trace => [trace.hovertemplate, trace.text].flat())"
    )
    assert "window.hacked" in str(templates)
    assert not re.search(r"<script|%\{x\}", str(templates))


def test_the_theme_follows_the_system_and_the_button(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.call("Emulation.setEmulatedMedia", features=[feature])
        page.drawn()
        seen.append(page.evaluate(ground))
    assert seen[0] != seen[1]
    for colour in seen:
        page.evaluate("document.getElementById('theme').click()")
        assert page.evaluate(ground) == colour
    page.evaluate("document.getElementById('theme').click()")
    page.call("Emulation.setEmulatedMedia", features=[])


def test_a_phone_scrolls_tables_and_not_the_page(page: Page) -> None:
    page.size(360, 740)
    width, chart = page.evaluate(
        "[document.documentElement.scrollWidth, document.getElementById('lines').scrollWidth]"
    )
    boxes = page.evaluate(
        "[...document.querySelectorAll('.scroll')]"
        ".filter(b => b.scrollWidth > b.clientWidth).length"
    )
    page.size(1280, 900)
    assert width == 360
    assert chart < 360
    assert boxes >= 2


def test_the_address_carries_the_view(page: Page) -> None:
    slider(page, "rtt", END)
    page.evaluate(
        "(async () => { for (let i = 0; i < 600 && !location.hash.includes('rtt=500'); i++)"
        " await new Promise(requestAnimationFrame) })()"
    )
    assert "rtt=500" in page.evaluate("location.hash")


def test_no_request_leaves_the_page(loaded: Page, address: str) -> None:
    asked = {url.partition("#")[0] for url in loaded.requested()}
    assert {url for url in asked if not url.startswith("data:")} == {address}


def test_a_bundle_without_a_profile_is_shown_and_may_not_ask_the_network(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "get_plotlyjs", lambda: FAKE_LIBRARY)
    bare = msgspec.structs.replace(REPORT, layers=(), cuts=(), notes=("no profile",))
    page = browser.page().open(written(render_html(bare), tmp_path))
    assert winner(page) in {row.id for row in CANDIDATES}
    assert page.evaluate("document.getElementById('network-section').hidden")
    assert page.complaints() == []
    outside = "http://isthmus.invalid/"
    refused = page.evaluate(f"fetch('{outside}').then(() => 'let through', () => 'refused')")
    loaded = page.evaluate(
        "new Promise(told => { const i = new Image(); i.onload = () => told('let through');"
        f" i.onerror = () => told('refused'); i.src = '{outside}' }})"
    )
    page.evaluate(
        "document.body.append("
        "Object.assign(document.createElement('script'), {text: 'hacked = 1'}))"
    )
    assert (refused, loaded) == ("refused", "refused")
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert sum("Content Security Policy" in complaint for complaint in page.complaints()) >= 3
