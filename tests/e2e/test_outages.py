"""PostgreSQL goes away and comes back while processes of all roles use it."""

import threading
import time
import uuid

import pytest

from harness.waiting import wait_for

TASKS = 8
# Longer than a session may be silent, and than a supervisor would wait for a stuck process.
LONG_S = 20

# Writes down each of its lives, and lives until it may end.
WITNESS = """
    #!/bin/sh
    echo "$OPSCORE_ATTEMPT" >>"{folder}/lives"
    while [ ! -e "{folder}/go" ]; do sleep 0.05; done
    printf done
"""


@pytest.fixture
def away(services, postgres):
    """Ends PostgreSQL as a crash would; it is back when the test has ended, at the latest."""
    yield lambda: services.halt("postgres")
    services.start("postgres")


def lives(folder):
    path = folder / "lives"
    return path.read_text().splitlines() if path.exists() else []


def answer_of(rest, *request):
    try:
        return rest.send(*request)
    except OSError:
        return None


def test_a_long_outage_costs_time_only(new_cluster, services, away):
    cluster = new_cluster().migrate()
    processes = [cluster.maintenance()]
    for _ in range(2):
        worker = cluster.add("worker")
        worker.add_program("witness", WITNESS.format(folder=cluster.folder))
        worker.launch("--slots", TASKS)
        processes.append(worker.wait_for_words("session"))
    api = cluster.api()
    processes.append(api)
    pids = [process.worker_pid() for process in processes]
    tasks = [api.rest.submit("witness")["task_id"] for _ in range(TASKS)]
    wait_for(lambda: len(lives(cluster.folder)) == TASKS, "all run")

    away()
    began = time.monotonic()
    wait_for(lambda: api.rest.send("GET", "/ready").status == 503, "it is noticed")
    assert api.rest.send("GET", "/health").status == 200
    refused = api.rest.send("POST", "tasks/", {"task_type": "opscore.echo"})
    assert refused.status == 503 and refused.headers["Retry-After"], refused
    for _ in range(20):
        assert api.rest.send("GET", f"tasks/{tasks[0]}").status == 503
    assert api.output().count("(unavailable)") <= 3, "every refused request is in the log"
    wait_for(lambda: time.monotonic() - began > LONG_S / 2, "half of the outage", LONG_S)
    # Ends nobody can be told of: they are kept.
    (cluster.folder / "go").touch()
    wait_for(lambda: time.monotonic() - began > LONG_S, "the outage", LONG_S)
    assert [process.worker_pid() for process in processes] == pids, "a process was restarted"

    services.start("postgres")
    for task in tasks:
        done = api.rest.wait(task, timeout=60)
        assert (done["status"], done["attempts"]) == ("completed", 1)
    assert len(lives(cluster.folder)) == TASKS, "a task ran twice"
    assert api.rest.run("opscore.echo", 1, within=60)["status"] == "completed"
    wait_for(lambda: api.rest.send("GET", "/ready").status == 200, "it is ready again")
    assert [process.worker_pid() for process in processes] == pids, "a process was restarted"


def test_a_restart_loses_nothing(new_cluster, services, away):
    cluster = new_cluster().migrate()
    cluster.maintenance()
    cluster.worker()
    api = cluster.api()
    accepted, stop = [], threading.Event()

    def submit():
        while not stop.is_set():
            key = uuid.uuid4().hex
            body = {"task_type": "opscore.echo", "input_data": key, "idempotency_key": key}
            while not stop.is_set():
                answer = answer_of(api.rest, "POST", "tasks/", body)
                if answer and answer.status in (200, 202):
                    accepted.append((answer.json()["task_id"], key))
                    break

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            enough = len(accepted) + 50
            wait_for(lambda: len(accepted) >= enough, "submits are accepted", 60)
            away()
            services.start("postgres")
        enough = len(accepted) + 50
        wait_for(lambda: len(accepted) >= enough, "submits are accepted again", 60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len({task for task, _ in accepted}) == len(accepted)
    for task, key in accepted:
        done = api.rest.wait(task, timeout=60)
        assert (done["status"], done["result"]) == ("completed", key)


def test_what_was_started_without_a_database_begins_with_it(new_cluster, services, away):
    cluster = new_cluster().migrate()
    away()
    processes = [cluster.add(role) for role in ("api", "worker", "maintenance")]
    for process in processes:
        process.launch()
    api = processes[0]
    for process in processes:
        process.wait_for_words("trying again")
    wait_for(lambda: answer_of(api.rest, "GET", "/health"), "the API answers")
    assert api.rest.send("GET", "/ready").status == 503
    services.start("postgres")
    for process in processes:
        process.wait_for_words("the store was reached", timeout=60)
    assert api.rest.run("opscore.echo", 1, within=60)["status"] == "completed"


def test_a_database_that_turns_out_to_be_unusable_ends_the_process(new_cluster, services, away):
    cluster = new_cluster()  # and nobody migrates it
    away()
    worker = cluster.add("worker")
    worker.launch()
    worker.wait_for_words("trying again")
    services.start("postgres")
    assert worker.process.wait(60) == 2
    assert "opscore migrate" in worker.output()
