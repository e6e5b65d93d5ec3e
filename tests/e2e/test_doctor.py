"""`opscore doctor`: finds faults that are really there, and nothing where all is well."""

import json
import subprocess
import time

import pytest

from harness.cluster import psql
from harness.processes import processes_below
from harness.proxy import Proxy
from harness.server import free_port
from harness.waiting import wait_for


def doctor(server, *arguments, environment=None):
    """Its exit code and its findings by their names; it has to be quick."""
    begun = time.monotonic()
    done = server.cli("doctor", "--json", *arguments, environment=environment)
    assert time.monotonic() - begun < 3.5, "3 s, and what it takes to start a process"
    answer = json.loads(done.stdout)
    for finding in answer["findings"]:
        assert finding["evidence"] and finding["cause"] and finding["command"], finding
    return done.returncode, {each["finding"]: each for each in answer["findings"]}


def test_nothing_is_wrong(server):
    assert doctor(server) == (0, {})
    shown = server.cli("doctor")
    assert "nothing is wrong" in shown.stdout
    assert "ready" in shown.stdout and "opscore.db" in shown.stdout


def test_before_the_first_start_and_after_the_last(new_server):
    server = new_server()
    assert doctor(server) == (0, {})
    server.start()
    server.stop()
    code, findings = doctor(server)
    assert code == 1
    assert findings["nothing_runs"]["command"] == "opscore up"


def test_a_configuration_that_is_refused(new_server):
    server = new_server()
    server.configure("[server2]\nprot = 1\n[store]\nbogus = 2")
    code, findings = doctor(server)
    assert code == 2
    assert list(findings) == ["config_invalid"]
    assert "server2" in server.cli("doctor").stdout


def test_traps_of_the_environment(server):
    traps = {
        "DATABASE_URL": "",
        "DRAMATIQ_TESTING": "1",
        "https_proxy": "http://me:s3cret@proxy:1",
        "TZ": "Mars/Phobos",
    }
    code, findings = doctor(server, environment=traps)
    assert code == 1
    assert set(findings) == {"empty_variable", "dramatiq_testing", "proxy_set", "time_zone"}
    assert "DATABASE_URL" in findings["empty_variable"]["evidence"]
    assert "s3cret" not in str(findings)


def test_a_note_and_few_files(server):
    code, findings = doctor(server, environment={"OPSCORE_FOO": "1"})
    assert code == 0 and "OPSCORE_FOO" in findings["config_note"]["evidence"]
    done = subprocess.run(
        ["prlimit", "--nofile=64:64", server.binary, "doctor", "--json"],
        cwd=server.folder, env=server.environment, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and b"open_files_low" in done.stdout


def test_a_disk_without_room(new_server):
    server = new_server()
    server.configure('[store]\ndisk_reserve = "1000000GB"')
    code, findings = doctor(server)
    assert code == 2 and "disk_low" in findings


def test_a_server_of_another_store(server, new_server):
    other = new_server("other").start()
    code, findings = doctor(server, "--url", f"http://127.0.0.1:{other.port}")
    assert code == 2
    assert list(findings) == ["other_server"]


def test_tasks_that_nobody_runs(new_server):
    server = new_server()
    server.add_program("gone", "#!/bin/sh\ntrue\n")
    server.start()
    server.rest.expect(200, "POST", "queues/quiet/pause")
    server.rest.submit("opscore.noop", queue="quiet")
    server.rest.run("gone")
    server.stop()
    text = (server.folder / "opscore.toml").read_text()
    (server.folder / "opscore.toml").write_text(text[: text.index("[actors")])
    server.restart()
    task = server.rest.submit("gone")
    code, findings = doctor(server)
    assert code == 2
    assert set(findings) == {"type_unserved", "queue_paused"}
    assert task["task_id"] in findings["type_unserved"]["evidence"]
    assert findings["queue_paused"]["command"] == "opscore queues resume quiet"


def test_a_queue_that_nobody_serves(new_server):
    server = new_server()
    server.configure('[worker]\nqueues = ["other"]')
    server.start()
    server.rest.submit("opscore.noop", queue="mine")
    assert list(doctor(server)[1]) == ["queue_unserved"]


def test_a_worker_that_was_killed(new_server):
    server = new_server()
    server.start()
    server.kill()
    code, findings = doctor(server)
    # For as long as its last renewal is fresh it may still be there.
    wait_for(lambda: "nothing_runs" in doctor(server)[1], "its session is silent", timeout=30)
    code, findings = doctor(server)
    assert code == 1
    assert {"nothing_runs", "session_silent"} == set(findings)


def test_a_database_without_a_schema(new_cluster):
    cluster = new_cluster()
    code, findings = doctor(cluster.add("client"))
    assert code == 2
    assert findings["store_schema"]["command"] == "opscore migrate"
    cluster.migrate()
    assert list(doctor(cluster.processes[0])[1]) == ["nothing_runs"]


@pytest.mark.parametrize("kind", ["refused", "silent"])
def test_a_database_that_does_not_answer(new_server, postgres, kind):
    port = free_port()
    if kind == "silent":
        proxy = Proxy(free_port())
        proxy.stall()
        port = proxy.port
    server = new_server()
    url = f"postgresql://me:s3cret@127.0.0.1:{port}/db"
    code, findings = doctor(server, environment={"DATABASE_URL": url})
    assert code == 2
    assert "store_unreachable" in findings
    assert "s3cret" not in str(findings)


def test_maintenance_that_nobody_does(new_cluster):
    cluster = new_cluster().migrate()
    worker = cluster.worker()
    cluster.maintenance().stop()
    # Backdated: who watched it for a quarter of a minute may say so.
    psql(
        cluster.url,
        f'UPDATE "{cluster.schema}".sessions SET started = started - 60000 WHERE ended IS NULL',
    )
    wait_for(lambda: "no_maintenance" in doctor(worker)[1], "nobody leads", timeout=60)


def test_rabbitmq_that_is_away(new_server):
    server = new_server().start()
    url = f"amqp://me:s3cret@127.0.0.1:{free_port()}/"
    code, findings = doctor(server, environment={"RABBITMQ_URL": url})
    assert code == 2
    assert set(findings) == {"broker_unreachable", "management_unknown"}
    assert "s3cret" not in str(findings)


def test_who_holds_messages(new_server, rabbitmq, services, holder):
    server = new_server()
    server.environment["RABBITMQ_URL"] = rabbitmq.url
    server.configure('[actors.slow]\nkind = "dramatiq"\nqueue = "python"')
    server.start()
    management = {"RABBITMQ_MANAGEMENT_URL": services.env()["RABBITMQ_MANAGEMENT_URL"]}
    worker = holder("python")

    def held():
        return doctor(server, "--unacked-older-than", "1s", environment=management)[1].get(
            "unacked_held"
        )

    evidence = wait_for(held, "somebody holds a message", timeout=60)["evidence"]
    assert "queue python: 1 message held" in evidence and "127.0.0.1:" in evidence
    assert any(f"pid {pid}" in evidence for pid in processes_below(worker.folder)), evidence
    assert "unacked_held" not in doctor(server, environment=management)[1], "a minute by default"
    assert "management_unknown" in doctor(server)[1]


def test_a_stranger_on_a_queue_of_ours(new_server, rabbitmq, services, holder):
    server = new_server()
    server.environment["RABBITMQ_URL"] = rabbitmq.url
    server.environment["RABBITMQ_MANAGEMENT_URL"] = services.env()["RABBITMQ_MANAGEMENT_URL"]
    server.start()
    holder("opscore.default")
    wait_for(lambda: "foreign_consumer" in doctor(server)[1], "a stranger consumes", timeout=60)


def test_two_installations_on_one_rabbitmq(new_cluster, rabbitmq, services):
    environment = {
        "RABBITMQ_URL": rabbitmq.url,
        "RABBITMQ_MANAGEMENT_URL": services.env()["RABBITMQ_MANAGEMENT_URL"],
    }
    ours = new_cluster(environment=environment).migrate()
    theirs = new_cluster(environment=environment).migrate()
    theirs.api().rest.submit("opscore.noop")
    theirs.maintenance()
    theirs.worker()
    wait_for(
        lambda: "other_store" in doctor(ours.processes[0])[1], "the other store", timeout=60
    )
    assert "other_store" not in doctor(theirs.processes[0])[1]


def test_queues_and_rights_that_are_wrong(new_server, rabbitmq, services):
    server = new_server()
    server.environment["RABBITMQ_URL"] = rabbitmq.url
    server.environment["RABBITMQ_MANAGEMENT_URL"] = services.env()["RABBITMQ_MANAGEMENT_URL"]
    server.configure('[actors.slow]\nkind = "dramatiq"\nqueue = "python"')
    queue = f"queues/{rabbitmq.vhost}/python"
    rabbitmq.ask("PUT", queue, {"durable": True, "arguments": {}})
    rabbitmq.ask(
        "POST",
        f"exchanges/{rabbitmq.vhost}/amq.default/publish",
        {
            "properties": {},
            "routing_key": "python",
            "payload": "{}",
            "payload_encoding": "string",
        },
    )
    rabbitmq.ask(
        "PUT",
        f"permissions/{rabbitmq.vhost}/{rabbitmq.user}",
        {"configure": ".*", "write": "^nothing$", "read": ".*"},
    )
    wait_for(
        lambda: {"queue_arguments", "queue_unconsumed", "permission_missing"}
        <= set(doctor(server)[1]),
        lambda: f"all three: {doctor(server)}",
        timeout=30,
    )


def test_model_providers(new_server):
    server = new_server()
    environment = {"AGENTKIT_LLM_PROVIDER": "openai"}
    assert "llm_key_missing" in doctor(server, environment=environment)[1]
    environment["OPENAI_API_KEY"] = "sk-s3cret"
    environment["OPENAI_BASE_URL"] = f"http://127.0.0.1:{free_port()}/v1"
    assert doctor(server, environment=environment) == (0, {}), "there is a key; nobody is asked"
    done = server.cli("doctor", "--online", environment=environment)
    assert done.returncode == 2 and "llm_refused" in done.stdout
    assert "s3cret" not in done.stdout
