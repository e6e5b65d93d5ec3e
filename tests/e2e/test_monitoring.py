"""deploy/: alert rules and dashboard against Prometheus' own checker and the running server."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

from harness.receiver import Receiver
from harness.server import ROOT, Server
from harness.waiting import wait_for

PROMTOOL = shutil.which("promtool") or shutil.which(ROOT / "build/promtool")
RULES = ROOT / "deploy/prometheus"
DASHBOARD = json.loads((ROOT / "deploy/grafana/opscore.json").read_text(encoding="utf-8"))
METRIC = re.compile(r"\b(?:opscore|process)_[a-z_]+")


needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool here; ./dev test unpacks it into build/"
)


def promtool(*arguments, stdin=None, folder=RULES):
    done = subprocess.run(
        [PROMTOOL, *arguments], cwd=folder, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def queries():
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]


def families(text):
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}


def family_of(name, known):
    return name if name in known else re.sub(r"_(bucket|sum|count)$", "", name)


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("exposed"), {"OPSCORE_NET_ALLOW": "127.0.0.1"})

    def scraped():
        return server.rest.send("GET", "/metrics").body.decode()

    try:
        rest = server.start().rest
        with Receiver() as receiver:
            rest.run("opscore.noop", webhook=receiver.url)
            rest.run("opscore.fail", {"retryable": False})
            wait_for(lambda: "opscore_webhook_calls_total" in scraped(), "the webhook is counted")
        yield scraped()
    finally:
        server.clean_up()


@needs_promtool
def test_metrics_are_as_prometheus_wants_them(exposed):
    assert promtool("check", "metrics", stdin=exposed) == ""


@needs_promtool
def test_the_documented_scrape_configuration_is_valid(tmp_path):
    page = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1]
    token = tmp_path / "token"
    token.write_text("secret")
    file = tmp_path / "prometheus.yml"
    file.write_text(example.replace("/etc/prometheus/opscore-token", str(token)))
    promtool("check", "config", str(file))


@needs_promtool
def test_alert_rules_are_valid_and_do_what_they_say():
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")


def test_every_alert_is_tested():
    rules = (RULES / "alerts.yml").read_text(encoding="utf-8")
    tests = (RULES / "alerts_test.yml").read_text(encoding="utf-8")
    for alert in re.findall(r"- alert: (\w+)", rules):
        assert alert in tests, f"{alert} has no test in alerts_test.yml"


def test_alerts_and_dashboard_name_only_metrics_that_exist(exposed):
    known = families(exposed)
    named = {name for _, query in queries() for name in METRIC.findall(query)}
    named |= set(METRIC.findall((RULES / "alerts.yml").read_text(encoding="utf-8")))
    assert len(named) > 20
    assert {name for name in named if family_of(name, known) not in known} == set()


@needs_promtool
def test_the_dashboards_queries_are_valid(tmp_path):
    rules = [
        {"record": f"panel:{n}", "expr": re.sub(r"\[\$__rate_interval\]", "[5m]", query)}
        for n, (_, query) in enumerate(queries())
        if not query.startswith("label_values(")
    ]
    file = pathlib.Path(tmp_path, "queries.yml")
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


def test_the_dashboard_shows_what_is_needed():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    rows = {panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"}
    assert rows >= {"Throughput and latency", "Queues", "Failures", "Workers", "HTTP", "Webhooks"}
