"""opscore.testing: what it starts is ready, shown on failure, and gone afterwards."""

import os
import pathlib
import signal
import subprocess
import sys
import time
import uuid

import pytest

from conftest import SDK
from opscore import testing


def wait_for(condition, what, timeout=20):
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, f"not within {timeout} s: {what}"


def processes_in(folder):
    """Those whose working directory is there."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(str(folder)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_it_is_ready_inside_and_gone_outside():
    with testing.server() as server:
        assert server.client.request("GET", "/ready")["ready"] is True
        folder = server.folder
        assert len(processes_in(folder)) >= 2
        assert "is up" in server.log()
    assert not processes_in(folder) and not folder.exists()


def test_it_is_another_installation_than_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("OPSCORE_SERVER_PORT", "1")
    monkeypatch.setenv("OPSCORE_API_TOKEN", "a-secret-token")
    with testing.server(config="[queues.mail]\nmax_pending = 3\n") as server:
        assert server.client.queue("mail").max_pending == 3


def test_two_at_once():
    with testing.server() as one, testing.server() as two:
        assert one.url != two.url
        assert one.client.run("opscore.echo", 1, wait=10) == 1
        assert two.client.run("opscore.echo", 2, wait=10) == 2


def test_the_command_line_against_it():
    with testing.server() as server:
        task = server.client.submit("opscore.noop", delay="1h")
        told = server.cli("explain", task.task_id)
        assert told.returncode == 0 and "due_later" in told.stdout


def test_why_it_did_not_start():
    with pytest.raises(testing.StartFailed, match="(?s)exit code 2.*nonsense"):
        with testing.server(config="nonsense = 1\n"):
            pass
    with pytest.raises(testing.StartFailed, match="no program '/nowhere/opscore'.*OPSCORE_BINARY"):
        with testing.server(binary="/nowhere/opscore"):
            pass
    with pytest.raises(testing.StartFailed, match="not ready within 0 s"):
        with testing.server(timeout=0):
            pass


def test_a_worker_on_a_database_that_is_away():
    with pytest.raises(testing.StartFailed, match="(?s)exit code 1.*PostgreSQL"):
        nowhere = "postgresql://nobody@127.0.0.1:1/none"
        with testing.worker(database_url=nowhere):
            pass


def test_a_worker_is_ready_when_tasks_get_through_it(postgres):
    own = {"OPSCORE_STORE_SCHEMA": f"ready_{os.getpid()}", "DATABASE_URL": postgres}
    subprocess.run((testing.find_binary(), "migrate"), env=own, check=True)
    deaf = {**own, "RABBITMQ_URL": "amqp://127.0.0.1:1/"}
    with pytest.raises(testing.StartFailed) as failed:
        with testing.worker(database_url=postgres, environment=deaf, timeout=3):
            pass
    assert "its worker is not consuming: its canary: RabbitMQ at" in failed.value.problem
    assert "did not get through" in str(failed.value), "the log is shown"


def test_a_worker_on_postgresql_beside_an_api(postgres):
    own = {"OPSCORE_STORE_SCHEMA": f"sdk_{uuid.uuid4().hex[:12]}"}
    on_postgres = {"DATABASE_URL": postgres, **own}
    subprocess.run((testing.find_binary(), "migrate"), env=on_postgres, check=True)
    api = testing.Server.running(("up", "--port", "0", "--slots", "1"), environment=on_postgres)
    with api as up:
        up.client.pause_queue("mail")
        options = {"environment": own, "arguments": ("--queues", "late")}
        with testing.worker(database_url=postgres, api_url=up.url, **options) as worker:
            assert worker.client.run("opscore.echo", 1, wait=20, queue="late") == 1
            task = worker.client.submit("opscore.noop", queue="mail")
            assert "queue_paused" in worker.cli("explain", task.task_id).stdout
        with testing.worker(database_url=postgres, environment=own) as alone:
            with pytest.raises(testing.StartFailed, match="api_url"):
                alone.client
            assert "queue_paused" in alone.cli("explain", task.task_id).stdout


TESTS = """
    import opscore.testing

    def test_inside():
        with opscore.testing.server() as server:
            server.client.submit("opscore.noop", delay="1h")
            assert False

    def test_fixture(opscore_server):
        declined = {"message": "declined", "retryable": False}
        opscore_server.client.run("opscore.fail", declined, wait=10)

    def test_nothing_of_the_others(opscore_server):
        assert opscore_server.client.run("opscore.echo", 1, wait=10) == 2

    def test_passes(opscore_server):
        opscore_server.client.submit("opscore.noop", delay="1h")
"""


@pytest.fixture
def inner(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(SDK))
    return pytester


def test_a_failure_shows_log_and_explain(inner):
    inner.makepyfile(TESTS)
    result = inner.runpytest_subprocess("-p", "opscore.testing.plugin")
    result.assert_outcomes(failed=3, passed=1)
    text = result.stdout.str()
    inside, _, after = text.partition("_ test_fixture _")
    assert "opscore 0.1.0 is up" in inside and "due_later: It is scheduled for" in inside
    own, _, rest = after.partition("_ test_nothing_of_the_others _")
    nothing, _, _ = rest.partition(" short test summary info ")  # which CI has in full
    assert "failed: It ended failed after 1 charged attempt: actor_error: declined" in own
    assert not [word for word in ("is up", "declined", "due_later", "next:") if word in nothing]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_pytest_is_killed(inner, number, tmp_path):
    note = tmp_path / "folder"
    inner.makepyfile(
        f"""
        def test_that_waits_for_ever(opscore_server):
            task = opscore_server.client.submit("opscore.sleep", {{"ms": 600000}})
            next(e for e in opscore_server.client.events(task.task_id) if e.kind == "started")
            with open({str(note)!r} + ".new", "w") as file:
                file.write(str(opscore_server.folder))
            import os
            os.rename({str(note)!r} + ".new", {str(note)!r})
            opscore_server.client.wait(task.task_id)
        """
    )
    command = (sys.executable, "-m", "pytest", "-q", "-p", "opscore.testing.plugin")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(note.exists, "the test runs")
        folder = pathlib.Path(note.read_text())
        assert processes_in(folder)
        process.send_signal(number)
        process.wait(30)
        wait_for(lambda: not processes_in(folder), "no process is left")
        wait_for(lambda: not folder.exists(), "the folder is gone")
    finally:
        process.kill()


def test_a_crash_of_the_worker_is_survived():
    with testing.server() as server:
        task = server.client.submit("opscore.crash", max_attempts=1)
        assert server.client.wait(task.task_id, timeout=30).status == "failed"
        assert server.client.run("opscore.echo", 1, wait=30) == 1
