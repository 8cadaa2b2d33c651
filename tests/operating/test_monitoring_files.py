"""The dashboard, the alerts and the autoscaler's example: parsers read them, and every metric in them exists."""

import json
import re
from itertools import combinations
from pathlib import Path

import jsonschema
import promql_parser
import pytest
import yaml
from promql_parser import AggregateExpr, BinaryExpr, Call, ParenExpr, VectorSelector

from celery_dtimer.counters import Counters
from celery_dtimer.extension import extension_of
from celery_dtimer.operating.prometheus import TimerCollector, WorkerCollector
from celery_dtimer.timer.events import NewEvent

FILES = Path(__file__).parents[2] / "docs" / "operating"
OF_PROMETHEUS = {"job", "instance", "le"}

TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
DURATION = {"type": "string", "pattern": r"^\d+[smhd]$"}
RULES = {
    "type": "object",
    "required": ["groups"],
    "additionalProperties": False,
    "properties": {
        "groups": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "rules"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string"},
                    "interval": DURATION,
                    "rules": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["alert", "expr", "labels", "annotations"],
                            "additionalProperties": False,
                            "properties": {
                                "alert": {"type": "string", "pattern": "^[A-Z][A-Za-z]+$"},
                                "expr": {"type": "string"},
                                "for": DURATION,
                                "labels": {**TEXTS, "required": ["severity"]},
                                "annotations": {**TEXTS, "required": ["summary", "description"]},
                            },
                        },
                    },
                },
            },
        }
    },
}

COUNT = {"type": "integer", "minimum": 0}
#: As far as it is used, with KEDA's names and types; metadata of a trigger are texts, numbers too.
SCALED_OBJECT = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "keda.sh/v1alpha1"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["scaleTargetRef", "triggers"],
            "additionalProperties": False,
            "properties": {
                "scaleTargetRef": {"type": "object", "required": ["name"]},
                "pollingInterval": COUNT,
                "cooldownPeriod": COUNT,
                "minReplicaCount": COUNT,
                "maxReplicaCount": COUNT,
                "triggers": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["type", "metadata"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "prometheus"},
                            "metadata": {**TEXTS, "required": ["serverAddress", "query", "threshold"]},
                        },
                    },
                },
            },
        },
    },
}


@pytest.fixture
def served(make_app, redis_url):
    """The metrics that there are: labels by the names that a query has for them."""
    app = make_app(dtimer_url=redis_url)

    @app.task
    def note():
        """Make a queue."""

    result = note.post_in(100)
    counters = Counters(app)
    counters.posted(NewEvent("id", b"", "in", 0, 1), 0, "error")
    report = {"queues": ["q"], "in_flight": 0, "max_events": 1, "paused": False, "redis": {"failing_for": 0.0}}
    collectors = (WorkerCollector(counters, lambda: report), TimerCollector(extension_of(app)))
    found = {}
    for collector in collectors:
        for family in collector.collect():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    # Without a sample, since nothing was cancelled.
    found.setdefault("celery_dtimer_events_cancelled_total", {"queue"})
    assert result.cancel()
    return found


def selectors(expr):
    """The metrics that a query reads, and the labels that it names."""
    match expr:
        case VectorSelector():
            return {expr.name}, {matcher.name for matcher in expr.matchers.matchers}
        case AggregateExpr():
            names, labels = selectors(expr.expr)
            return names, labels | set(expr.modifier.labels if expr.modifier else ())
        case BinaryExpr():
            parts = [selectors(expr.lhs), selectors(expr.rhs)]
        case ParenExpr():
            parts = [selectors(expr.expr)]
        case Call():
            parts = [selectors(argument) for argument in expr.args]
        case _:
            matrix = getattr(expr, "vector_selector", None)
            parts = [] if matrix is None else [selectors(matrix)]
    return (set().union(*part) for part in zip(*parts, strict=True)) if parts else (set(), set())


def check_query(query, served):
    """Hold a query against the metrics that there are."""
    names, labels = selectors(promql_parser.parse(query))
    assert names, query
    assert names <= set(served), query
    assert labels <= OF_PROMETHEUS | set().union(*(served[name] for name in names)), query


def test_a_query_of_what_is_not_there_is_found(served):
    for query in (
        "celery_dtimer_gone",
        "max by (task) (celery_dtimer_pending)",
        'rate(celery_dtimer_events_fired_total{task="x"}[5m])',
        "celery_dtimer_due + on (queue) (celery_dtimer_gone)",
    ):
        with pytest.raises(AssertionError):
            check_query(query, served)
    with pytest.raises(ValueError, match="expected type matrix"):
        check_query("rate(celery_dtimer_events_fired_total)", served)


def test_the_alerts(served):
    rules = yaml.safe_load((FILES / "prometheus-rules.yml").read_text("utf-8"))
    jsonschema.validate(rules, RULES)
    [group] = rules["groups"]
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"])
    for rule in group["rules"]:
        check_query(rule["expr"], served)
        assert promql_parser.parse(rule["expr"])
        kept = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        _, labels = selectors(promql_parser.parse(rule["expr"]))
        # An aggregation keeps what it names; without one, a series keeps all that it has.
        assert kept <= labels | (set() if " by " in rule["expr"] else OF_PROMETHEUS), rule["alert"]


def test_the_dashboard(served):
    board = json.loads((FILES / "grafana-dashboard.json").read_text("utf-8"))
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert variables == {"datasource", "namespace", "queue"}
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["datasource"]["uid"] == "${datasource}"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "5m")
            assert set(re.findall(r"\$(\w+)", query)) <= variables
            check_query(query, served)
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    for variable in board["templating"]["list"][1:]:
        metric, name = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
        assert name in served[metric]


def test_every_metric_is_in_its_page_and_shown_somewhere(served):
    page = (FILES.parent / "reference" / "metrics.md").read_text("utf-8")
    shown = "".join(file.read_text("utf-8") for file in FILES.iterdir())
    for name in served:
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        assert f"`{family}" in page, family
        assert family in shown or family.endswith("_cancelled_total"), family


def test_the_autoscaler(served):
    deployment, scaled = yaml.safe_load_all((FILES / "keda.yml").read_text("utf-8"))
    jsonschema.validate(scaled, SCALED_OBJECT)
    [trigger] = scaled["spec"]["triggers"]
    check_query(trigger["metadata"]["query"], served)
    assert float(trigger["metadata"]["threshold"]) > 0
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["command"][:4] == ["celery", "-A", "shop", "dtimer"]
    assert str(container["ports"][0]["containerPort"]) in container["command"]
