"""API, workers and maintenance as processes of their own, on one PostgreSQL."""

import json
import os
import re
import signal
import socket
import threading
import uuid

import pytest

from harness.cluster import Cluster, psql
from harness.processes import children_of, is_alive, tree_of
from harness.rest import EventStream
from harness.server import BINARY, ROOT
from harness.waiting import wait_for

# Writes down each of its lives, and lives until it may end.
WITNESS = """
    #!/bin/sh
    echo "$OPSCORE_ATTEMPT $$" >>"{folder}/lives"
    while [ ! -e "{folder}/go" ]; do sleep 0.05; done
    echo "$OPSCORE_ATTEMPT" >>"{folder}/ends"
    printf done
"""


def add_witness(process, folder):
    folder.mkdir(parents=True, exist_ok=True)
    process.add_program("witness", WITNESS.format(folder=folder))


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def status_of(process, path):
    try:
        return process.rest.send("GET", path).status
    except OSError:
        return None


def workers(rest):
    return rest.get("workers")["workers"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, postgres):
    """Two APIs, two workers and maintenance, for tests that leave no trace."""
    schema = f"e2e_{uuid.uuid4().hex[:12]}"
    found = Cluster(tmp_path_factory.mktemp("cluster"), postgres, schema)
    try:
        found.migrate()
        found.maintenance()
        found.workers = [found.worker("--slots", 4) for _ in range(2)]
        found.apis = [found.api() for _ in range(2)]
        yield found
    finally:
        found.clean_up()
        psql(postgres, f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def test_a_task_goes_from_one_process_through_another_to_a_third(cluster):
    here, there = (api.rest for api in cluster.apis)
    task_id = here.submit("opscore.echo", {"n": 1})["task_id"]
    task = there.wait(task_id)
    assert (task["status"], task["result"]) == ("completed", {"n": 1})
    assert task["worker"] in [worker["worker"] for worker in workers(there)]


def test_waiting_ends_when_any_worker_has_finished(cluster):
    rest = cluster.apis[1].rest
    body = {"task_type": "opscore.sleep", "input_data": {"ms": 200}}
    done = rest.expect(200, "POST", "tasks/?wait=20s", body)
    assert done["status"] == "completed"


def test_events_stream_from_another_process(cluster):
    here, there = (api.rest for api in cluster.apis)
    task_id = here.submit("opscore.sleep", {"ms": 300})["task_id"]
    with EventStream(there, f"tasks/{task_id}/events") as stream:
        kinds = [event.get("event") for event in stream]
    assert "completed" in kinds, kinds


def test_both_workers_take_part(cluster):
    rest = cluster.apis[0].rest
    for attempt in range(20):
        tasks = [rest.submit("opscore.sleep", {"ms": 100})["task_id"] for _ in range(16)]
        if len({rest.wait(task)["worker"] for task in tasks}) == 2:
            return
    pytest.fail("one worker did everything, twenty times")


def test_a_running_task_is_cancelled_from_another_process(cluster):
    here, there = (api.rest for api in cluster.apis)
    task_id = here.submit("opscore.sleep", {"ms": 60_000})["task_id"]
    here.wait(task_id, "running")
    there.expect(202, "POST", f"tasks/{task_id}/cancel")
    assert here.wait(task_id)["status"] == "cancelled"


def test_types_are_known_by_the_catalogue(cluster):
    rest = cluster.apis[0].rest
    refused = rest.submit("never.seen", status=422)
    assert refused["field"] == "task_type"
    worker = cluster.add("worker")
    worker.add_program("only.here", "#!/bin/sh\nprintf yes\n")
    worker.launch()
    worker.wait_for_words("session")

    def is_known():  # what an API knows of types may be a moment old
        return rest.send("POST", "tasks", {"task_type": "only.here"}).status == 202

    wait_for(is_known, "the type is known")
    assert rest.run("only.here")["result"] == "yes"
    assert worker.stop() == 0

    def is_warned():  # what an API knows of workers is a second old
        submitted = rest.submit("only.here")
        rest.expect(200, "POST", f"tasks/{submitted['task_id']}/cancel")
        return "no live worker" in json.dumps(submitted.get("warnings"))

    wait_for(is_warned, "a warning that nobody runs it")
    bad = {"task_type": "agent_task", "input_data": {"prompt": "x", "provider": "nobody"}}
    assert "provider" in rest.expect(422, "POST", "tasks/", bad)["detail"]


def test_limits_set_on_one_process_hold_on_all(cluster):
    here, there = (api.rest for api in cluster.apis)
    here.expect(200, "PATCH", "queues/narrow", {"max_pending": 1})
    here.expect(200, "POST", "queues/narrow/pause")
    first = there.submit("opscore.echo", queue="narrow")
    assert there.submit("opscore.echo", queue="narrow", status=429)["field"] == "queue"
    there.expect(200, "POST", "queues/narrow/resume")
    assert here.wait(first["task_id"])["status"] == "completed"


def test_bulk_jobs_and_exports(cluster):
    here, there = (api.rest for api in cluster.apis)
    tasks = [here.run("opscore.echo", n, name="exported")["task_id"] for n in range(3)]
    job = here.expect(202, "POST", "jobs", {"action": "export", "filter": {"type": "opscore.echo"}})

    def ended():
        return there.get(f"jobs/{job['job_id']}")["state"] not in ("pending", "running")

    wait_for(ended, "the export")
    answer = there.send("GET", f"jobs/{job['job_id']}/export")
    assert answer.status == 200, answer
    exported = [json.loads(line)["task_id"] for line in answer.body.splitlines()]
    assert set(tasks) <= set(exported)


def test_sessions_of_all_processes_are_seen(cluster):
    states = [worker["state"] for worker in workers(cluster.apis[0].rest)]
    assert states.count("consuming") == 2 and states.count("leading") == 1, states


def test_a_worker_of_many_tasks_is_shared_by_many_submitters(cluster):
    results = []

    def submit(rest):
        tasks = [{"task_type": "opscore.echo", "input_data": n} for n in range(200)]
        answer = rest.expect(202, "POST", "tasks/batch", tasks)
        results.extend(task["task_id"] for task in answer["tasks"])

    threads = [threading.Thread(target=submit, args=(api.rest,)) for api in cluster.apis * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rest = cluster.apis[0].rest

    def rest_of_them():
        queue = rest.queue("default")
        return queue["pending"] + queue["running"]

    wait_for(lambda: rest_of_them() == 0, "all")
    assert len(results) == 800
    assert {rest.task(task)["status"] for task in results[::50]} == {"completed"}


def test_processes_without_an_api_can_be_probed(cluster):
    worker = cluster.add("worker")
    worker.launch("--probes-port", worker.port, "--slots", 1)
    maintenance = cluster.add("maintenance")
    maintenance.launch("--probes-port", maintenance.port)
    for process in (worker, maintenance):
        process.wait_ready(60)
        assert status_of(process, "/health") == 200
        assert process.rest.send("POST", "tasks/", {"task_type": "opscore.echo"}).status == 404
        assert b"opscore_store_up 1" in process.rest.send("GET", "/metrics").body
    rest = cluster.apis[0].rest

    def counts():
        rest.run("opscore.echo", 1)
        return b"opscore_attempts_total" in worker.rest.send("GET", "/metrics").body

    wait_for(counts, "the worker has counted an attempt of its own", 60)
    assert worker.stop() == 0 and maintenance.stop() == 0


def test_reload_reaches_every_process(new_cluster):
    cluster = new_cluster().migrate()
    maintenance, worker, api = cluster.maintenance(), cluster.worker(), cluster.api()
    worker.add_program("greet", "#!/bin/sh\nprintf hello\n")
    maintenance.configure("[queues.mail]\nmax_pending = 7\n")
    report = api.rest.expect(200, "POST", "config/reload")
    assert report["changed"] == [] and "told to reload" in json.dumps(report["notes"])
    worker.wait_for_words("changed: actors.greet (added)")
    maintenance.wait_for_words("changed: queues.mail (added)")
    assert api.rest.run("greet")["result"] == "hello"
    assert api.rest.queue("mail")["max_pending"] == 7


def test_only_workers_need_the_programs(new_cluster):
    toml = '[actors.elsewhere]\nkind = "exec"\ncommand = ["./not-on-this-machine"]\n'
    cluster = new_cluster(toml).migrate()
    cluster.maintenance()
    task = cluster.api().rest.submit("elsewhere", {})
    assert "no live worker runs 'elsewhere'" in task["warnings"][0]
    refused = cluster.add("worker").cli("worker")
    assert refused.returncode == 2 and "not-on-this-machine" in refused.stderr


def test_a_killed_worker_is_followed_and_its_task_runs_again(new_cluster):
    cluster = new_cluster().migrate()
    cluster.maintenance()
    worker = cluster.add("worker")
    add_witness(worker, cluster.folder)
    worker.launch()
    rest = cluster.api().rest
    worker.wait_for_words("session")
    task_id = rest.submit("witness")["task_id"]
    wait_for(lambda: lines(cluster.folder / "lives"), "it runs")
    bystander = cluster.worker()
    os.kill(worker.worker_pid(), signal.SIGKILL)
    # Its supervisor knows what it ran: nobody has to wait until the session counts as lost.
    wait_for(lambda: len(lines(cluster.folder / "lives")) == 2, "its second life", timeout=60)
    first, second = (line.split() for line in lines(cluster.folder / "lives"))
    assert (first[0], second[0]) == (f"{task_id}#1", f"{task_id}#2")
    assert not is_alive(int(first[1])), "what the dead worker had started goes on"
    (cluster.folder / "go").touch()
    assert rest.wait(task_id)["status"] == "completed"
    assert len(lines(cluster.folder / "ends")) == 1
    lost = rest.get(f"tasks/{task_id}/attempts")["attempts"][0]
    assert "was killed by SIGKILL" in lost["error"]["message"], lost
    assert bystander.process.poll() is None
    assert len([found for found in workers(rest) if found["state"] == "consuming"]) == 2


def test_a_crashing_task_is_quarantined_across_workers(new_cluster):
    cluster = new_cluster().migrate()
    cluster.maintenance()
    for _ in range(2):
        cluster.worker()
    rest = cluster.api().rest
    task = rest.run("opscore.crash", within=60)
    assert (task["status"], task["error"]["kind"]) == ("failed", "poison")
    assert rest.run("opscore.echo", 1)["status"] == "completed"


def test_a_frozen_host_is_noticed_and_comes_back_too_late(new_cluster):
    cluster = new_cluster().migrate()
    cluster.maintenance()
    workers_of = []
    for name in ("frozen", "other"):
        worker = cluster.add("worker")
        add_witness(worker, cluster.folder)
        worker.launch()
        workers_of.append(worker.wait_for_words("session"))
        if name == "frozen":
            rest = cluster.api().rest
            task_id = rest.submit("witness")["task_id"]
            wait_for(lambda: lines(cluster.folder / "lives"), "it runs")
    frozen = workers_of[0]
    pids = tree_of(frozen.process.pid)[:2]  # the supervisor cannot tell either; the program goes on
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: len(lines(cluster.folder / "lives")) == 2, "its second life", timeout=120)
    (cluster.folder / "go").touch()
    rest.wait(task_id)
    done = rest.task(task_id)
    assert (done["status"], done["attempts"]) == ("completed", 1)  # the loss is not charged
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)
    frozen.wait_for_words("session", count=2)  # and it works in a new one
    assert rest.task(task_id) == done
    attempts = rest.get(f"tasks/{task_id}/attempts")["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["lost", "completed"], attempts


def test_another_maintenance_takes_over(new_cluster):
    cluster = new_cluster().migrate()
    first, second = cluster.maintenance(), cluster.maintenance()
    rest = cluster.api().rest

    def leader():
        return [found["name"] for found in workers(rest) if found["state"] == "leading"]

    wait_for(lambda: len(leader()) == 1, "one leads")
    pids = {process: children_of(process.process.pid)[0] for process in (first, second)}
    (name,) = leader()
    leading = next(process for process, pid in pids.items() if name.endswith(f":{pid}"))
    other = second if leading is first else first
    leading.kill()
    # The dead one's session stays listed until it was silent for long enough.
    wait_for(
        lambda: any(found.endswith(f":{pids[other]}") for found in leader()),
        "the other one leads",
        timeout=20,
    )


def test_it_is_said_that_no_maintenance_leads(new_cluster):
    cluster = new_cluster().migrate()
    keeper, worker, api = cluster.maintenance(), cluster.worker(), cluster.api()
    rest, words = api.rest, "no maintenance process leads since 20"

    def reasons():
        answer = rest.send("GET", "/ready")
        assert answer.status == 200
        return " ".join(answer.json()["reasons"])

    def led():
        return "opscore_maintenance_led 1" in rest.send("GET", "/metrics").body.decode()

    wait_for(lambda: any("maintenance" in found["loops"] for found in workers(rest)), "one leads")
    later = rest.submit("opscore.noop", delay="1h")["task_id"]
    assert words not in reasons() and led() and rest.get("queues")["warnings"] == []
    assert words not in api.cli("explain", later).stdout
    assert keeper.stop() == 0
    wait_for(lambda: words in reasons(), lambda: f"it is said: {reasons()}", 60)
    assert not led()
    for command in (("queues", "list"), ("workers", "list")):
        assert words in api.cli(*command).stderr
        assert words in str(json.loads(api.cli(*command, "--json").stdout)["warnings"])
    assert words in api.cli("explain", later).stdout
    keeper.launch()
    wait_for(lambda: words not in reasons(), "another leads", 60)
    assert led() and worker.process.poll() is None


def test_without_an_api_the_command_line_asks_the_database(cluster):
    rest = cluster.apis[0].rest
    task_id = rest.run("opscore.echo", 1)["task_id"]
    gone = cluster.add("api")  # never started, so nobody answers on its port
    explained = gone.cli("explain", task_id)
    assert explained.returncode == 0 and "It completed" in explained.stdout, explained
    assert "no server answers" in explained.stderr and cluster.schema in explained.stderr
    assert gone.cli("tasks", "show", task_id).returncode == 0
    assert gone.cli("explain", "task_none").returncode == 3


def test_an_api_that_is_killed_comes_back_on_its_port(new_cluster):
    cluster = new_cluster().migrate()
    cluster.worker()
    api = cluster.api()
    task_id = api.rest.submit("opscore.echo", 1)["task_id"]
    os.kill(api.worker_pid(), signal.SIGKILL)
    assert api.rest.wait(task_id)["status"] == "completed"


def test_up_on_postgresql_is_everything_in_one_process(new_cluster):
    cluster = new_cluster()
    up = cluster.add("up")
    up.start()  # and makes its schema
    assert f"schema {cluster.schema}" in up.output()
    assert not up.data.exists()
    assert up.rest.run("opscore.echo", 1)["status"] == "completed"
    guest = cluster.worker()
    assert len(workers(up.rest)) == 2
    assert guest.stop() == 0
    assert up.stop() == 0


def test_a_schema_that_is_not_there_is_refused(new_cluster):
    cluster = new_cluster()
    for role in ("api", "worker", "maintenance"):
        process = cluster.add(role)
        process.launch()
        assert process.process.wait(20) == 2
        assert "opscore migrate" in process.output()


def test_migrate(new_cluster):
    cluster = new_cluster()
    status = json.loads(cluster.cli("migrate", "status", "--json").stdout)
    assert status["version"] == 0 and len(status["pending"]) == status["known"]
    sql = cluster.cli("migrate", "--dry-run").stdout
    assert "CREATE TABLE tasks" in sql
    assert json.loads(cluster.cli("migrate", "status", "--json").stdout) == status
    by_hand = sql[: sql.index("-- 0002")]
    psql(cluster.url, by_hand)
    pending = json.loads(cluster.cli("migrate", "status", "--json").stdout)["pending"]
    assert pending == status["pending"][1:]
    runs = [threading.Thread(target=cluster.migrate) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    after = json.loads(cluster.cli("migrate", "status", "--json").stdout)
    assert after["version"] == status["known"] and after["pending"] == []
    assert "nothing to do" in cluster.cli("migrate", "--dry-run").stdout


def test_older_beside_newer(new_cluster):
    cluster = new_cluster().migrate()
    known = json.loads(cluster.cli("migrate", "status", "--json").stdout)["known"]
    insert = f"INSERT INTO {cluster.schema}.migrations VALUES ({{}}, 'later', {{}})"
    psql(cluster.url, insert.format(known + 1, known))
    cluster.worker()
    assert cluster.api().rest.run("opscore.echo", 1)["status"] == "completed"
    assert "newer" in cluster.cli("migrate", "status").stdout
    psql(cluster.url, insert.format(known + 2, known + 1))
    late = cluster.add("worker")
    late.launch()
    assert late.process.wait(20) == 2
    assert "newer opscore" in late.output()
    refused = cluster.cli("migrate")
    assert refused.returncode == 2 and "Nothing was changed" in refused.stderr


def test_backups_are_postgresqls_own(new_cluster):
    cluster = new_cluster().migrate()
    for command, instead in (("backup", "pg_dump"), ("restore", "pg_restore")):
        done = cluster.cli(command, "file")
        assert done.returncode == 5 or done.returncode == 2, done
        assert instead in done.stderr
        assert cluster.url.split(":")[2].split("@")[0] not in done.stderr


def test_no_database_at_the_start(new_cluster):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://u:hunter22@127.0.0.1:{nobody.getsockname()[1]}/x"
        cluster = new_cluster(environment={"DATABASE_URL": url})
        api = cluster.add("api")
        api.launch()
        wait_for(lambda: status_of(api, "/health") == 200, "the API answers")
        ready = api.rest.send("GET", "/ready")
        assert ready.status == 503 and "not reached" in json.dumps(ready.json()["reasons"])
        refused = api.rest.send("POST", "tasks/", {"task_type": "opscore.echo"})
        assert refused.status == 503 and refused.headers["Retry-After"], refused
        for role in ("worker", "maintenance", "api"):
            strict = cluster.add(role)
            strict.launch("--require-store")
            assert strict.process.wait(20) == 1, strict.output()
            assert "hunter22" not in strict.output()
        patient = [cluster.add(role) for role in ("worker", "maintenance")]
        for process in patient:
            process.launch()
        for process in [api, *patient]:
            process.wait_for_words("trying again", count=2, timeout=30)
            assert "hunter22" not in process.output()
        for process in [api, *patient]:
            assert process.stop() == 0


def test_the_example_of_the_guide(new_cluster):
    text = (ROOT / "docs" / "howto" / "cluster.md").read_text()
    example = re.search(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    url, *commands = example.splitlines()
    assert url.startswith("export DATABASE_URL=")
    assert [line.split()[:2] for line in commands] == [
        ["opscore", role] for role in ("migrate", "maintenance", "worker", "api")
    ]
    cluster = new_cluster()
    process = cluster.add("api")
    script = "\n".join(commands).replace("--port 8000", f"--port {process.port}")
    shell = f'opscore() {{ "{BINARY}" "$@"; }}; {script}\nwait'
    process.launch_command("bash", "-ec", shell)
    process.wait_ready()
    assert process.rest.run("opscore.echo", 1)["status"] == "completed"
