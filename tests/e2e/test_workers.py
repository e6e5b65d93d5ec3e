"""Workers that somebody ends, or wants for himself."""

import shutil

from harness.waiting import wait_for


def sessions(rest):
    return {each["worker"]: each for each in rest.get("workers?ended_within=1h")["workers"]}


def only(rest):
    def look():
        return [name for name, each in sessions(rest).items() if each["state"] == "consuming"]

    (name,) = wait_for(look, "a worker consumes")
    return name


def test_drain_waits_for_what_runs(new_cluster):
    cluster = new_cluster().migrate()
    api = cluster.api()
    worker = cluster.worker()
    task_id = api.rest.submit("opscore.sleep", {"ms": 3000})["task_id"]
    api.rest.wait(task_id, "running")
    name = only(api.rest)
    done = api.cli("workers", "drain", name)
    assert done.returncode == 0 and "asked to drain" in done.stdout, done.stderr
    assert worker.process.wait(timeout=40) == 0
    assert api.rest.get(f"tasks/{task_id}")["status"] == "completed"
    assert sessions(api.rest)[name]["state"] == "stopped"
    # Who has ended does not hear.
    assert api.cli("workers", "drain", name).returncode == 3


def test_stop_does_not_wait(new_cluster):
    cluster = new_cluster().migrate()
    api = cluster.api()
    worker = cluster.worker()
    task_id = api.rest.submit("opscore.sleep", {"ms": 25_000})["task_id"]
    api.rest.wait(task_id, "running")
    answer = api.rest.expect(202, "POST", f"workers/{only(api.rest)}/stop")
    assert answer["asked"] == "stop"
    assert worker.process.wait(timeout=15) == 0, "the drain alone would have taken longer"
    task = api.rest.get(f"tasks/{task_id}")
    assert (task["status"], task["attempts"]) == ("pending", 0), "handed back, uncharged"


def test_a_queue_for_one_worker_alone(new_cluster):
    cluster = new_cluster('[worker]\nqueues = ["mine"]\n').migrate()
    api = cluster.api()
    first = cluster.worker("--exclusive", "mine")
    second = cluster.add("worker")
    second.launch("--exclusive", "mine")
    assert second.process.wait(timeout=20) == 5
    name = only(api.rest)
    assert f"queue 'mine' is served by {name}" in second.output()
    assert f"opscore workers drain {name}" in second.output()
    third = cluster.add("worker")
    third.launch("--exclusive", "other")
    third.wait_for_words("session")
    first.stop()
    third.stop()
    cluster.worker("--exclusive", "mine")


def test_a_list_says_how_workers_differ(new_server):
    server = new_server()
    server.start()
    shown = server.cli("workers", "list").stdout
    assert "DIFFERS" in shown and "executable" not in shown
    copy = server.folder / "another" / "opscore"
    copy.parent.mkdir()
    shutil.copy2(server.binary, copy)
    other = new_server("other")
    other.binary = copy
    other.start()
    wait_for(lambda: other.rest.get("workers")["workers"], "its session is there")
    assert f"executable {copy}" in other.cli("workers", "list").stdout
