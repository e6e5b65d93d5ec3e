"""opscore report: one archive for a report of a bug, and no secret in it."""

import json
import sqlite3
import tarfile

from harness.waiting import wait_for

SECRETS = {
    "OPSCORE_API_TOKEN": "apitoken-s3cret-0123456789",
    "DB_PASSWORD": "database-s3cret-0123456789",
    "NOTHING_SPECIAL": "unnamed-s3cret-0123456789",
}
WEBHOOK, AMQP, INPUT = "webhook-s3cret-01", "amqp-s3cret-01", "input-s3cret-01"


def unpacked(path):
    with tarfile.open(path) as archive:
        assert {member.mode for member in archive} == {0o600}
        return {
            member.name.removeprefix("opscore-report/"): archive.extractfile(member).read().decode()
            for member in archive
        }


def new_faulty_server(new_server):
    server = new_server(
        environment={**SECRETS, "RABBITMQ_URL": f"amqp://bob:{AMQP}@127.0.0.1:1/"}
    )
    server.add_program(
        "leaky",
        '#!/bin/sh\necho "login failed: password=$PASS at http://u:$PASS@host/" >&2; exit 65\n',
        f'env = {{PASS = "{WEBHOOK}"}}\n',
    )
    server.configure(f'[webhooks]\nsecret = "{WEBHOOK}"\n[log]\nfile = "server.json"\n')
    return server


def test_a_report_has_what_a_report_needs_and_no_secret(new_server):
    server = new_faulty_server(new_server)
    server.launch()
    wait_for(server.is_ready, "it is ready")
    failed = server.rest.run("leaky", {"secret": INPUT})["task_id"]
    server.rest.send("POST", "queues/default/pause")
    log = server.folder / "server.json"
    wait_for(lambda: "login failed" in log.read_text(), "its line is logged")
    done = server.cli("report", "mine.tar.gz")
    assert done.returncode == 0, done.stderr
    files = unpacked(server.folder / "mine.tar.gz")
    expected = "versions.json config.json doctor.json ready.json queues.json actors.json"
    expected += " workers.json workers/worker-1.json metrics.txt log.txt README.txt"
    expected += f" failed/{failed}.json"
    assert set(expected.split()) <= set(files)
    for name, text in files.items():
        for secret in (*SECRETS.values(), WEBHOOK, AMQP, INPUT):
            assert secret not in text, (name, secret)
        if name.endswith(".json"):
            json.loads(text)
        assert name in done.stdout and (name == "README.txt" or name in files["README.txt"])
    assert json.loads(files["doctor.json"])["findings"]
    task = json.loads(files[f"failed/{failed}.json"])
    assert task["explain"]["verdict"] == "failed" and task["events"]["events"]
    assert "login failed: password=***" in files["log.txt"]
    assert "input_data" not in task["task"]
    assert json.loads(files["workers/worker-1.json"])["context"]
    again = server.cli("report", "mine.tar.gz")
    assert again.returncode == 5 and "name another file" in again.stderr


def test_without_a_server_the_store_is_read(new_server):
    server = new_server().start()
    task = server.rest.run("opscore.fail", {"message": "no luck"}, max_attempts=1)
    server.stop()
    done = server.cli("report", "--json")
    report = json.loads(done.stdout)
    files = unpacked(server.folder / report["file"])
    assert f"failed/{task['task_id']}.json" in files
    assert "Missing:\nthe server: " in files["README.txt"]


def test_without_server_and_store_there_is_still_a_report(new_server):
    server = new_server()
    done = server.cli("report", "alone.tar.gz")
    assert done.returncode == 0, done.stderr
    files = unpacked(server.folder / "alone.tar.gz")
    assert json.loads(files["versions.json"])["opscore"] and "config.json" in files
    assert "the store: " in files["README.txt"]


def test_what_is_stuck_is_explained(new_server):
    server = new_server().start()
    server.rest.send("POST", "queues/mail/pause")
    task_id = server.rest.submit("opscore.noop", queue="mail")["task_id"]
    server.stop()
    # As if it had been submitted two minutes ago: its time is in its key.
    with sqlite3.connect(server.data) as data:
        for table in ("live", "tasks"):
            data.execute(f"UPDATE {table} SET key = key - (120000 << 20)")
    data.close()
    server.start()
    assert server.cli("report", "stuck.tar.gz").returncode == 0
    files = unpacked(server.folder / "stuck.tar.gz")
    stuck = [json.loads(text) for name, text in files.items() if name.startswith("stuck/")]
    assert [each["explain"]["verdict"] for each in stuck] == ["queue_paused"]
    assert task_id not in str(stuck), "its key is another now"
