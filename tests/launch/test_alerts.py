"""Alerts and the dashboard: of metrics that the server has, with labels that they have; promtool reads them."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from rexjax.serving.metrics import Measures

K8S = Path(__file__).parent.parent.parent / "launch/k8s"
RULES = yaml.safe_load((K8S / "alerts.yaml").read_text())["groups"][0]["rules"]
PANELS = json.loads((K8S / "dashboard.json").read_text())["panels"]
QUERIES = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]
ADDED = {"namespace", "pod", "le"}
"""Labels that Prometheus adds, or that each histogram has."""


def exposed():
    """Labels by the name of each metric."""
    measures = Measures()
    measures.request("/v1/recommend", 200, 0.01)
    measures.observe("queue", 0.01)
    for counter in (measures.swaps, measures.refused, measures.fallbacks):
        counter.labels("x")
    found = {}
    text = generate_latest(measures.registry).decode() + 'rexjax_bundle_info{version="v",model="m"} 1.0\n'
    for name, labels in re.findall(r"^(rexjax_\w+)(?:\{(.*)\})? ", text, re.M):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_queries_name_metrics_and_labels_that_there_are(query):
    known, named = exposed(), re.findall(r"rexjax_\w+", query)
    assert named and {*named} <= known.keys()
    labels = set(re.findall(r'(\w+)=~?"', query))
    for listed in re.findall(r"by \(([\w, ]+)\)", query):
        labels |= {*listed.replace(" ", "").split(",")}
    assert labels <= set().union(*(known[name] for name in named)) | ADDED


def test_rules_say_how_urgent_they_are_and_panels_lie_apart():
    assert all(rule["labels"]["severity"] in ("page", "ticket") and rule["for"] for rule in RULES)
    assert all(rule["annotations"]["summary"] for rule in RULES)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS}
    assert len(places) == len({panel["id"] for panel in PANELS}) == len(PANELS)


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool, of Debian's package prometheus")
@pytest.mark.parametrize("arguments", [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]])
def test_promtool_reads_the_rules_and_their_tests_pass(arguments):
    done = subprocess.run(["promtool", *arguments], cwd=K8S, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool, of Debian's package prometheus")
def test_promtool_reads_the_queries_of_the_dashboard(tmp_path):
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(QUERIES)
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", "rules.yaml"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_metrics_are_named_as_promtool_wants():
    if not shutil.which("promtool"):
        pytest.skip("needs promtool")
    text = generate_latest(Measures().registry)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert b"error" not in done.stderr.lower(), done.stderr
