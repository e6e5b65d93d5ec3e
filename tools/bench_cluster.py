#!/usr/bin/env python3
"""What tools/bench_cluster.sh measures, of the API at a URL: bench_cluster.py URL TASKS"""

import datetime
import http.client
import json
import statistics
import sys
import threading
import time
import urllib.parse

BATCH, SUBMITTERS, RUNS, LONE_TASKS = 1000, 4, 3, 500


class Api:
    """One connection."""

    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=60)

    def ask(self, method, path, body=None):
        headers = {"Content-Type": "application/json"}
        self.connection.request(method, "/api/v1/" + path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path} answered {answer.status}: {text[:300]!r}")
        return json.loads(text)


def unfinished(api):
    queue = next((q for q in api.ask("GET", "queues")["queues"] if q["name"] == "default"), None)
    return queue["pending"] + queue["running"] if queue else 0


def submit_and_execute(url, tasks):
    """Tasks a second until all are acknowledged, and until all have ended."""
    task = {"task_type": "opscore.noop", "input_data": {"payload": "x" * 185}}
    body = json.dumps([task] * BATCH).encode()

    def submit():
        api = Api(url)
        for _ in range(tasks // BATCH // SUBMITTERS):
            api.ask("POST", "tasks/batch", body)

    threads = [threading.Thread(target=submit) for _ in range(SUBMITTERS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    acknowledged = time.monotonic() - began
    api = Api(url)
    while unfinished(api):
        time.sleep(0.02)
    ended = time.monotonic() - began
    count = tasks // BATCH // SUBMITTERS * SUBMITTERS * BATCH
    return count / acknowledged, count / ended


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def pick_up(url):
    """Milliseconds from the record to the entered actor, 50 lone tasks a second; p50 and p99."""
    api, body = Api(url), json.dumps({"task_type": "opscore.noop"})
    ids, next_at = [], time.monotonic()
    for _ in range(LONE_TASKS):
        ids.append(api.ask("POST", "tasks", body)["task_id"])
        next_at += 0.02
        time.sleep(max(0, next_at - time.monotonic()))
    while unfinished(api):
        time.sleep(0.02)
    tasks = [api.ask("GET", f"tasks/{task_id}") for task_id in ids]
    waits = sorted(
        (moment(task["started_at"]) - moment(task["created_at"])).total_seconds() * 1000
        for task in tasks
    )
    return waits[len(waits) // 2], waits[len(waits) * 99 // 100]


def main():
    url, tasks = sys.argv[1], int(sys.argv[2])
    pick_up(url)  # connections, plans and caches are there
    rates = [submit_and_execute(url, tasks) for _ in range(RUNS)]
    waits = [pick_up(url) for _ in range(RUNS)]
    for name, unit, values in (
        ("submitted", "tasks/s", [rate[0] for rate in rates]),
        ("submitted and ended", "tasks/s", [rate[1] for rate in rates]),
        ("pick-up p50", "ms", [wait[0] for wait in waits]),
        ("pick-up p99", "ms", [wait[1] for wait in waits]),
    ):
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:20} {middle:10,.0f} {unit}  [{low:,.0f} .. {high:,.0f}]")


if __name__ == "__main__":
    main()
