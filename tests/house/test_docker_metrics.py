"""Dashboard, alerts and scalers ask for metrics that the service has, by labels that they have."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cloud.telemetry.records import one_of_each

from isthmus_cloud.telemetry import Retired
from isthmus_cloud.telemetry.metrics import PrometheusObserver

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docker/grafana/isthmus.json"
ALERTS = ROOT / "docker/prometheus/alerts.yml"
SCALERS = ROOT / "docker/kubernetes/components"
GUIDE = ROOT / "docs/kubernetes.md"
NAME = re.compile(r"\b(?:isthmus|process)_[a-z_]+\b")
MATCHED = re.compile(r"\b((?:isthmus|process)_[a-z_]+){([^}]*)}")
GROUPED = re.compile(r"\b(?:by|on) \(([^)]*)\)")
OF_THE_SCRAPE = {"instance", "job"}


@pytest.fixture(scope="module")
def labels() -> dict[str, set[str]]:
    """Every metric of a service that has done one of each thing, with its labels' names; nothing
    was retired, for then its series would be gone."""
    observer = PrometheusObserver()
    for happening in one_of_each():
        if not isinstance(happening, Retired):
            observer.note(happening)
    found: dict[str, set[str]] = {}
    for family in observer.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def board() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return read


def panels() -> list[dict[str, Any]]:
    return [panel for panel in board()["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[str]:
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    listed = board()["templating"]["list"]
    asked = [each["definition"] for each in listed if each["type"] == "query"]
    noted = [each["expr"] for each in board()["annotations"]["list"]]
    return shown + asked + noted + [rule["expr"] for rule in rules()]


def labels_asked(query: str) -> Iterator[tuple[str, str]]:
    """Each metric of the query with each label that it is asked by."""
    for name, matchers in MATCHED.findall(query):
        yield from ((name, label) for label in re.findall(r"(\w+)\s*[=!]", matchers))
    grouped = [each.strip() for group in GROUPED.findall(query) for each in group.split(",")]
    yield from ((name, label) for name in NAME.findall(query) for label in grouped)


def test_every_metric_that_is_asked_for_is_one_of_the_service(labels: dict[str, set[str]]) -> None:
    asked = {name for query in queries() for name in NAME.findall(query)}
    assert asked - labels.keys() == set()
    assert len(asked) > 20


def test_metrics_are_asked_by_labels_that_they_have(labels: dict[str, set[str]]) -> None:
    asked = {pair for query in queries() for pair in labels_asked(query)}
    assert len(asked) > 40
    assert [
        (name, label) for name, label in asked if label not in labels[name] | OF_THE_SCRAPE
    ] == []


def test_scalers_and_the_guide_name_metrics_of_the_service(labels: dict[str, set[str]]) -> None:
    written = [path.read_text(encoding="utf-8") for path in (*SCALERS.rglob("*.yaml"), GUIDE)]
    named = {name for text in written for name in re.findall(r"\bisthmus_[a-z_]+\b", text)}
    assert "isthmus_frames_waiting" in named
    assert named - labels.keys() == set()


def test_every_panel_has_a_question_a_unit_and_a_word_of_explanation() -> None:
    assert [
        panel["title"]
        for panel in panels()
        if not (
            panel["targets"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"]
        )
    ] == []


def test_panels_have_numbers_of_their_own_and_do_not_lie_on_each_other() -> None:
    shown = board()["panels"]
    assert len({panel["id"] for panel in shown}) == len(shown)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in shown)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_dashboard_asks_whatever_prometheus_is_chosen() -> None:
    sources = {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]}
    assert sources == {"${datasource}"}


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    """promtool runs them; here nothing may be forgotten."""
    cases = yaml.safe_load(ALERTS.with_name("alerts.test.yml").read_text(encoding="utf-8"))
    (case,) = cases["tests"][0]["promql_expr_test"]
    fires = {re.findall(r'"(\w+)"', each["labels"])[0] for each in case["exp_samples"]}
    assert fires == {rule["alert"] for rule in rules()}


def test_every_alert_says_how_grave_it_is_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    assert {rule["labels"]["severity"] for rule in rules()} <= {"critical", "warning"}
    assert [
        rule["alert"] for rule in rules() if set(rule["annotations"]) != {"summary", "description"}
    ] == []
