"""/metrics: documented, bounded, by convention."""

import collections
import contextlib
import http.client
import re
import uuid

import pytest

from harness.server import ROOT, Server
from harness.waiting import wait_for

SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
ROW = re.compile(r"\| `(\w+)` \| (\w+) \| ((?:`\w+` ?)*)\|")


class Scrape:
    def __init__(self, text):
        self.text = text
        self.types, self.help = {}, {}
        self.samples = collections.defaultdict(dict)  # name -> labels -> value
        for line in text.splitlines():
            words = line.split(" ", 3)
            if words[0] == "#":
                {"TYPE": self.types, "HELP": self.help}[words[1]][words[2]] = words[3]
                continue
            name, labels, value = SAMPLE.fullmatch(line).groups()
            self.samples[name][frozenset(LABEL.findall(labels or ""))] = float(value)

    def value(self, name, **labels):
        return self.samples[name].get(frozenset(labels.items()))

    def family_of(self, sample):
        if sample in self.types:
            return sample
        return re.sub(r"_(bucket|sum|count)$", "", sample)

    def labels(self):
        """The names of the labels of each family."""
        found = {family: set() for family in self.types}
        for sample, series in self.samples.items():
            for labels in series:
                found[self.family_of(sample)] |= {name for name, _ in labels} - {"le"}
        return found


def scrape(rest):
    answer = rest.send("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(answer.body.decode())


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """The API of a server on which everything that can be counted has happened."""
    server = Server(tmp_path_factory.mktemp("busy"))
    server.configure('[net]\nallow = ["127.0.0.1"]')
    try:
        yield prepared(server.start().rest)
    finally:
        server.clean_up()


def prepared(rest):
    rest.run("opscore.noop")
    rest.run("opscore.sleep", {"ms": 3})
    rest.run("opscore.fail", {"retryable": False})
    nobody = {"reports": [{"message_id": "nobody", "kind": "running"}]}
    assert rest.send("POST", "/api/v1/dramatiq/reports", nobody).status == 200
    # Nobody listens there, which is an outcome, too.
    rest.run("opscore.noop", webhook="http://127.0.0.1:1/")
    wait_for(lambda: scrape(rest).samples["opscore_webhook_calls_total"], "the webhook is counted")
    return rest


def documented():
    text = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    rows = [ROW.match(line).groups() for line in text.splitlines() if line.startswith("| `")]
    return {name: (kind, set(re.findall(r"\w+", labels))) for name, kind, labels in rows}


def test_every_metric_is_documented_and_every_documented_one_exists(busy):
    # The request before must have been counted, so the second answer is looked at.
    scrape(busy)
    now = scrape(busy)
    labels = now.labels()
    assert {name: (kind, labels[name]) for name, kind in now.types.items()} == documented()
    assert set(now.help) == set(now.types)


def test_names_and_units_follow_the_convention(busy):
    for name, kind in scrape(busy).types.items():
        assert name.startswith(("opscore_", "process_"))
        assert name.endswith("_total") == (kind == "counter"), name
        if kind == "histogram":
            assert name.endswith("_seconds")
        assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|percent)(_|$)", name)


def test_buckets_reach_from_a_tenth_of_a_millisecond_to_an_hour(busy):
    bounds = {
        float(dict(labels)["le"])
        for labels in scrape(busy).samples["opscore_attempt_duration_seconds_bucket"]
    }
    assert min(bounds) == 0.0001 and sorted(bounds)[-2:] == [3600, float("inf")]


def test_work_is_counted_where_it_belongs(busy):
    queue = "q" + uuid.uuid4().hex
    for _ in range(3):
        busy.run("opscore.sleep", {"ms": 2}, queue=queue)
    busy.run("opscore.fail", {"retryable": False}, queue=queue)
    slept = {"queue": queue, "type": "opscore.sleep"}
    finished = "opscore_worker_tasks_finished_total"

    def counted():
        now = scrape(busy)
        return now.value(finished, state="completed", **slept) == 3 and now

    now = wait_for(counted, "three tasks are counted")
    assert now.value("opscore_tasks_submitted_total", **slept) == 3
    assert now.value("opscore_attempts_total", end="completed", **slept) == 3
    assert now.value("opscore_attempt_duration_seconds_count", **slept) == 3
    assert now.value("opscore_attempt_duration_seconds_sum", **slept) >= 0.006
    assert now.value("opscore_attempt_duration_seconds_bucket", le="0.001", **slept) == 0
    assert now.value("opscore_task_wait_seconds_count", **slept) == 3
    failed = {"queue": queue, "type": "opscore.fail"}
    wait_for(
        lambda: scrape(busy).value(finished, state="failed", **failed) == 1,
        "the failure is counted",
    )
    assert now.value("opscore_attempt_failures_total", kind="actor_error") >= 1
    assert now.value("opscore_queue_tasks", queue=queue, state="failed") == 1
    assert now.value("opscore_queue_slots", queue=queue) > 0
    assert now.value("opscore_store_up") == 1
    assert now.value("opscore_disk_free_bytes") > 0
    assert now.value("opscore_store_wal_bytes") > 0
    (build,) = now.samples["opscore_build_info"]
    assert dict(build)["version"]


def test_requests_are_counted_by_route_template(busy):
    busy.send("GET", "tasks/task_none")
    now = scrape(busy)
    assert now.value(
        "opscore_http_request_duration_seconds_count",
        method="GET",
        route="/api/v1/tasks/{task_id}",
        status="4xx",
    )
    assert "task_none" not in now.text


def test_many_queues_share_one_series(new_server):
    rest = new_server().start().rest
    tasks = [{"task_type": "opscore.noop", "queue": f"q{n}", "delay": "1h"} for n in range(150)]
    rest.expect(202, "POST", "tasks/batch", tasks)
    now = scrape(rest)
    submitted = now.samples["opscore_tasks_submitted_total"]
    assert len(submitted) == 101
    other = {"queue": "other", "type": "other"}
    assert now.value("opscore_tasks_submitted_total", **other) == 50
    assert len(now.samples["opscore_queue_paused"]) == 101
    waiting = [
        value
        for labels, value in now.samples["opscore_queue_tasks"].items()
        if ("state", "scheduled") in labels
    ]
    assert sum(waiting) == 150, "none is left out"


def test_a_restart_by_the_supervisor_is_counted(new_server):
    server = new_server().start()
    assert scrape(server.rest).value("opscore_supervisor_restarts_total") == 0
    # The worker may be gone before it has answered, then and later.
    gone = (OSError, http.client.HTTPException)
    with contextlib.suppress(*gone):
        server.rest.submit("opscore.crash", max_attempts=1)

    def restarted():
        with contextlib.suppress(*gone):
            return scrape(server.rest).value("opscore_supervisor_restarts_total") == 1
        return False

    wait_for(restarted, "one restart", 30)
