"""The dashboard and the alert rules parse, and name only metrics, labels and label values that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest
import yaml

from gradmesh_engine.errors import NotFoundError, all_errors
from gradmesh_server.metrics import PHASES, TABLE
from gradmesh_server.telemetry import METHODS, OK
from tests.house.sources import ROOT

FOLDER = ROOT / "deploy" / "observability"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

# What the scraper adds to every metric.
SCRAPED = {"job", "instance"}

# Name of every series, with its labels.
SERIES = {
    name: {*metric.labels, *({"le"} if name.endswith("_bucket") else ())}
    for metric in TABLE
    for name in (
        [f"{metric.name}_{part}" for part in ("bucket", "sum", "count")]
        if metric.kind == "histogram"
        else [metric.name]
    )
}

VALUES = {
    "method": {method for _, method in METHODS.values()},
    "outcome": {OK, *all_errors()},
    "phase": set(PHASES),
    "cache": {"graph", "plan", "blob"},
    "where": {"inline", "workers"},
}


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]


EXPRESSIONS = dict(expressions())


def parts(expression: promql.Expr) -> Iterator[promql.Expr]:
    """An expression and everything it is made of."""
    yield expression
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        child = getattr(expression, name, None)
        if isinstance(child, promql.Expr):
            yield from parts(child)
    for child in getattr(expression, "args", ()):
        yield from parts(child)


def parse(text: str) -> list[promql.Expr]:
    # Grafana fills these in.
    return list(parts(promql.parse(text.replace("$__rate_interval", "5m"))))


def selectors(text: str) -> list[promql.VectorSelector]:
    return [part for part in parse(text) if isinstance(part, promql.VectorSelector)]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_uses_what_exists(name: str) -> None:
    text = EXPRESSIONS[name]
    found = selectors(text)
    assert found
    known: set[str] = set(SCRAPED)
    for selector in found:
        assert selector.name in SERIES, selector.name
        labels = SERIES[selector.name] | SCRAPED
        known |= labels
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels, f"{selector.name} has no label {matcher.name}"
            if matcher.name in VALUES:
                assert set(matcher.value.split("|")) <= VALUES[matcher.name], matcher.value
    for part in parse(text):
        if isinstance(part, promql.AggregateExpr) and part.modifier is not None:
            inner = set().union(
                *(SERIES[s.name] | SCRAPED for s in parts(part.expr) if isinstance(s, promql.VectorSelector))
            )
            assert set(part.modifier.labels) <= inner
    # A counter only grows: what it tells is its rate.
    rates = [part for part in parse(text) if isinstance(part, promql.Call) and part.func.name in ("rate", "increase")]
    within = sum(isinstance(part, promql.VectorSelector) for rate in rates for part in parts(rate.args[0]))
    assert within == sum(s.name.endswith(("_total", "_bucket", "_sum", "_count")) for s in found)


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {s.name for panel in PANELS for target in panel["targets"] for s in selectors(target["expr"])}
    missing = {
        metric.name
        for metric in TABLE
        if not shown & ({metric.name} | {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")})
    }
    assert not missing


def test_panels_have_places_and_legends_of_their_own() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for panel in PANELS:
        for target in panel["targets"]:
            labels = set().union(*(SERIES[s.name] for s in selectors(target["expr"]))) | SCRAPED
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_says_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"] and rule["annotations"]["description"]
    told = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    top = promql.parse(rule["expr"])
    grouped = [part for part in parts(top) if isinstance(part, promql.AggregateExpr) and part.modifier is not None]
    kept = set.intersection(*(set(part.modifier.labels) for part in grouped)) if grouped else SCRAPED
    assert told <= kept, f"{told - kept} is not among the labels the alert has"


def test_alerts_leave_a_clients_own_mistakes_alone() -> None:
    (rule,) = [rule for rule in RULES if rule["alert"] == "GradmeshFailures"]
    outcomes = {
        outcome
        for selector in selectors(rule["expr"])
        for matcher in selector.matchers.matchers
        if matcher.name == "outcome"
        for outcome in matcher.value.split("|")
    }
    errors = all_errors()
    assert outcomes
    assert not any(issubclass(errors[outcome], (NotFoundError, ValueError)) for outcome in outcomes)
