"""bench/peers at a size that says nothing about speed: it still has to run."""

import json
import subprocess
import sys

from harness.server import ROOT
from harness.services import provide

PEERS = ROOT / "bench" / "peers"


def test_opscore_and_dramatiq_side_by_side(services, postgres):
    provide(services, "rabbitmq")
    names = ["opscore-rabbitmq", "dramatiq"]
    size = ["--tasks", "100", "--runs", "1", "--only", ",".join(names), "--json"]
    done = subprocess.run(
        [sys.executable, PEERS / "compare.py", *size],
        env=services.environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report["results"]) == names
    rates = [rate["median"] for found in report["results"].values() for rate in found.values()]
    assert len(rates) == 3 + 2 and min(rates) > 0
    assert {ratio["to"] for ratio in report["ratios"]} == {"dramatiq"}


def test_an_unknown_contender_is_named_before_anything_is_installed():
    done = subprocess.run(
        [sys.executable, PEERS / "compare.py", "--only", "celery"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "no celery; there are opscore, opscore-rabbitmq, dramatiq, graphile" in done.stderr


def test_the_script_for_node_parses():
    subprocess.run(["node", "--check", PEERS / "graphile.cjs"], timeout=60, check=True)
