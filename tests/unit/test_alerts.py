"""Alert rules, dashboard and runbook: promtool passes them, each alert is tried and explained, each metric asked for exists."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.parts import ROOT
from deploy.local.stack import PROCESSES, Ports
from shared.meters import CATALOGUE
from tests.promtool import promtool

FOLDER = ROOT / "deploy" / "prometheus"
RULES = sorted((FOLDER / "rules").glob("*.yml"))
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RUNBOOK = ROOT / "docs" / "operations.md"

OF_THE_CLIENT = {
    "up", "process_open_fds", "process_max_fds", "process_cpu_seconds_total", "process_resident_memory_bytes"
}  # fmt: skip
"""Metrics that Prometheus itself or its Python client brings."""

HISTOGRAMS = {f"{entry.name}{end}" for entry in CATALOGUE if entry.kind == "histogram" for end in ("_bucket", "_sum", "_count")}
KNOWN = {entry.name for entry in CATALOGUE if entry.kind != "histogram"} | HISTOGRAMS | OF_THE_CLIENT
LABELS = {entry.name: {*entry.labels, "job", "instance", "le"} for entry in CATALOGUE}


def alerts() -> Iterator[dict[str, Any]]:
    for file in RULES:
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]:
            yield from group["rules"]


def panels() -> Iterator[tuple[str, str]]:
    """Title and expression of each query of the dashboards."""
    for file in DASHBOARDS:
        for panel in json.loads(file.read_bytes())["panels"]:
            yield from ((panel["title"], target["expr"]) for target in panel.get("targets", ()))


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric that an expression asks for, with the labels it is matched by."""
    for name, matched in re.findall(r"\b((?:onething|process)_[a-z_]+|up)\b(?:\{([^}]*(?:\{[^}]*\}[^}]*)*)\})?", expression):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", matched))


def test_promtool_passes_rules_and_configuration() -> None:
    assert RULES
    promtool("check", "rules", *RULES)
    promtool("check", "config", FOLDER / "prometheus.yml")


def test_each_alert_fires_when_it_should_and_not_when_it_should_not() -> None:
    promtool("test", "rules", *TESTS)
    fires: set[str] = set()
    rests: set[str] = set()
    for file in TESTS:
        for test in yaml.safe_load(file.read_text("utf-8"))["tests"]:
            for case in test["alert_rule_test"]:
                (fires if case["exp_alerts"] else rests).add(case["alertname"])
    names = {alert["alert"] for alert in alerts()}
    assert fires == rests == names


def test_each_alert_says_how_grave_it_is_whom_it_is_for_and_where_to_read_on() -> None:
    for alert in alerts():
        assert set(alert["labels"]) == {"severity", "audience"}
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        told = alert["annotations"]
        assert set(told) == {"summary", "description", "runbook"}
        assert told["runbook"] == f"docs/operations.md#{alert['alert'].lower()}"
        chinese = bool(re.search(r"[\u4e00-\u9fff]", told["summary"])) and bool(re.search(r"[\u4e00-\u9fff]", told["description"]))
        assert chinese == (alert["labels"]["audience"] == "bureau"), alert["alert"]


def test_the_runbook_has_a_section_for_each_alert_and_none_for_another() -> None:
    sections = re.split(r"(?m)^### (?=Onething)", RUNBOOK.read_text("utf-8"))[1:]
    found = {section.partition("\n")[0]: section.partition("\n")[2] for section in sections}
    assert sorted(found) == sorted(alert["alert"] for alert in alerts())
    for name, text in found.items():
        for part in ("**Means**", "**Look**", "**Do**"):
            assert part in text, f"{name} has no {part}"


def test_no_rule_or_panel_asks_for_a_metric_or_a_label_that_is_not_there() -> None:
    asked = [(alert["alert"], alert["expr"]) for alert in alerts()] + list(panels())
    assert len(list(panels())) > 30
    for where, expression in asked:
        found = list(selectors(expression))
        assert found, where
        for name, labels in found:
            assert name in KNOWN, f"{where}: {name}"
            base = re.sub(r"_(bucket|sum|count)$", "", name) if name in HISTOGRAMS else name
            assert labels <= LABELS.get(base, {"job", "instance"}), f"{where}: {name} {labels}"
    used = {name for _, expression in asked for name, _ in selectors(expression)}
    unused = {entry.name for entry in CATALOGUE if not {entry.name, f"{entry.name}_bucket", f"{entry.name}_count"} & used}
    assert unused == set(), "nobody looks at these: put them on the dashboard"


def test_promtool_reads_every_expression_of_the_dashboards(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": expression} for number, (_, expression) in enumerate(panels())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    promtool("check", "rules", file)
    broken = tmp_path / "broken.yml"
    broken.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": [{"record": "x", "expr": "sum(up"}]}]}), "utf-8")
    with pytest.raises(AssertionError, match=r"parse error|unclosed"):
        promtool("check", "rules", broken)


def test_dashboards_stand_where_grafana_is_told_to_look_and_ask_the_source_that_it_has() -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "onething.yml").read_text("utf-8"))["providers"]
    assert provider["options"]["path"] == "$ONETHING_DASHBOARDS"
    assert DASHBOARDS
    for file in DASHBOARDS:
        shown = [panel for panel in json.loads(file.read_bytes())["panels"] if panel["type"] != "row"]
        ids = [panel["id"] for panel in shown]
        assert len(set(ids)) == len(ids)
        for panel in shown:
            assert panel["datasource"]["uid"] == source["uid"], panel["title"]
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]


def test_the_sample_targets_are_the_local_stacks_processes() -> None:
    targets = yaml.safe_load((FOLDER / "targets.yml").read_text("utf-8"))
    ports = Ports(8100)
    assert {group["labels"]["job"]: group["targets"] for group in targets} == {
        f"onething-{service}-{process}": [f"127.0.0.1:{ports.of(service, process)}"] for service, process in PROCESSES
    }
