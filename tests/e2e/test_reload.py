"""The configuration, read again while the server runs."""

import contextlib
import os
import pty
import re
import signal
import sqlite3
import stat
import subprocess

import pytest

from harness.server import BINARY, ROOT
from harness.waiting import wait_for

LONG = """
    #!/bin/sh
    touch "$PWD/long.started"
    while [ ! -e "$PWD/go" ]; do sleep 0.02; done
    printf old
"""


def reload(server, status=200):
    return server.rest.expect(status, "POST", "config/reload")


def start_long(server):
    """Starts a task that runs until release()."""
    task_id = server.rest.submit("long")["task_id"]
    wait_for((server.folder / "long.started").exists, "the long task runs")
    return task_id


def release(server):
    (server.folder / "go").touch()


def test_actors_come_change_and_go_while_a_task_runs(new_server):
    server = new_server()
    server.add_program("long", LONG)
    rest = server.start().rest
    worker = server.worker_pid()
    long_task = start_long(server)
    refused = rest.expect(422, "POST", "tasks/", {"task_type": "greet"})
    assert refused["field"] == "task_type"

    server.add_program("greet", "#!/bin/sh\nprintf hello\n", options='description = "Greets."')
    report = reload(server)
    assert report["changed"] == ["actors.greet (added)"] and report["needs_restart"] == []
    assert rest.get("actors/greet")["description"] == "Greets."
    assert rest.run("greet")["result"] == "hello"
    assert rest.task(long_task)["status"] == "running"

    toml = server.folder / "opscore.toml"
    text = toml.read_text().replace("greet.sh", "greet2.sh")
    # What runs is text, and would be no good as JSON.
    toml.write_text(text.replace('[actors."long"]', '[actors."long"]\noutput = "json"'))
    (server.folder / "greet2.sh").write_text("#!/bin/sh\nprintf changed\n")
    (server.folder / "greet2.sh").chmod(0o755)
    assert reload(server)["changed"] == ["actors.long", "actors.greet"]
    assert rest.run("greet")["result"] == "changed"

    text = toml.read_text()
    toml.write_text(text[: text.index('[actors."greet"]')])
    assert reload(server)["changed"] == ["actors.greet (removed)"]
    left = rest.submit("greet")
    assert "no live worker runs 'greet'" in left["warnings"][0]
    explained = rest.get(f"tasks/{left['task_id']}/explain")
    assert explained["verdict"] == "no_actor"

    release(server)
    ended = rest.wait(long_task)
    assert (ended["status"], ended["result"], ended["attempt"]) == ("completed", "old", 1)
    assert server.worker_pid() == worker

    toml.write_text(text)
    reload(server)
    assert rest.wait(left["task_id"])["result"] == "changed"


def test_a_broken_file_changes_nothing_and_says_why(new_server):
    server = new_server()
    rest = server.start().rest
    toml = server.folder / "opscore.toml"
    good = toml.read_text()
    server.configure('[log]\nlevel = "debug"\n[actors.new]\ncomand = ["true"]')
    line = toml.read_text().splitlines().index('comand = ["true"]') + 1
    problem = reload(server, status=422)
    assert f"opscore.toml:{line}: actors.new.comand is not a setting" in problem["detail"]
    assert "nothing was changed" in problem["detail"]
    said = f"nothing was changed: opscore.toml:{line}: actors.new.comand"
    wait_for(lambda: said in server.output(), "the log says it, too")
    rest.expect(404, "GET", "actors/new")
    shown = server.cli("config", "reload")
    assert shown.returncode == 2 and f"opscore.toml:{line}" in shown.stderr
    assert rest.run("opscore.noop")["status"] == "completed"

    toml.write_text(good + '\n[actors.new]\ncommand = ["no-such-program"]\n')
    shown = server.cli("config", "reload")
    assert shown.returncode != 0 and "no program 'no-such-program'" in shown.stderr
    toml.write_text(good)
    assert reload(server)["changed"] == []


def test_sighup_reloads_and_what_needs_a_restart_is_named(new_server):
    server = new_server()
    server.configure('[log]\nlevel = "warn"\n[queues.mail]\nmax_pending = 5')
    rest = server.start().rest
    toml = server.folder / "opscore.toml"

    def lines():
        return len(re.findall("configuration reloaded", server.output()))

    text = toml.read_text().replace('"warn"', '"info"')
    text = text.replace("max_pending = 5", "max_pending = 6")
    toml.write_text(text)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: lines() == 1, "the supervisor passed it on")
    assert "log.level, queues.mail" in server.output()
    assert rest.get("queues/mail")["max_pending"] == 6

    toml.write_text(text.replace(f"port = {server.port}", f"port = {server.port + 1}"))
    os.kill(server.worker_pid(), signal.SIGHUP)
    wait_for(lambda: lines() == 2, "the worker took it itself")
    assert "needs a restart: server.port" in server.output()
    for _ in range(2):  # it is not forgotten
        report = reload(server)
        assert (report["changed"], report["needs_restart"]) == ([], ["server.port"])

    toml.write_text(text.replace("[queues.mail]\nmax_pending = 6", ""))
    shown = server.cli("config", "reload")
    assert shown.stdout == "changed: queues.mail (removed)\nneeds a restart: nothing\n"
    assert rest.queue("mail") is None


@pytest.mark.parametrize("table", ["queue_limits", "catalogue"])
def test_a_store_that_refuses_half_of_it_gets_none_of_it(new_server, table):
    server = new_server()
    server.configure("[queues.mail]\nmax_pending = 5")
    rest = server.start().rest
    toml = server.folder / "opscore.toml"
    good = toml.read_text()
    server.add_program("greet", "#!/bin/sh\nprintf hello\n")
    toml.write_text(toml.read_text().replace("max_pending = 5", "max_pending = 6"))
    with contextlib.closing(sqlite3.connect(server.data, timeout=30)) as database, database:
        for kind in ("INSERT", "UPDATE"):
            database.execute(
                f"CREATE TRIGGER refuse_{kind} BEFORE {kind} ON {table} "
                f"WHEN new.{'max_pending = 6' if table == 'queue_limits' else 'type <> 1'} "
                "BEGIN SELECT RAISE(ABORT, 'the disk is on fire'); END"
            )
    refused = rest.send("POST", "config/reload")
    assert refused.status >= 500 and "nothing was changed" in refused.json()["detail"], refused.body
    assert rest.get("queues/mail")["max_pending"] == 5
    rest.expect(404, "GET", "actors/greet")
    rest.expect(422, "POST", "tasks/", {"task_type": "greet"})
    assert rest.run("opscore.noop")["status"] == "completed"

    with contextlib.closing(sqlite3.connect(server.data, timeout=30)) as database, database:
        for kind in ("INSERT", "UPDATE"):
            database.execute(f"DROP TRIGGER refuse_{kind}")
    assert reload(server)["changed"] == ["actors.greet (added)", "queues.mail"]
    assert rest.get("queues/mail")["max_pending"] == 6
    assert rest.run("greet")["result"] == "hello"
    toml.write_text(good)
    reload(server)
    assert rest.get("queues/mail")["max_pending"] == 5


def test_retention_and_log_level_change_while_running(new_server):
    server = new_server()
    server.configure('[retention]\ncompleted = "7d"\nfailed = "30d"\n[log]\nlevel = "error"')
    rest = server.start().rest
    done = rest.run("opscore.noop")["task_id"]
    failed = rest.run("opscore.fail", {"retryable": False})["task_id"]
    toml = server.folder / "opscore.toml"
    text = toml.read_text().replace('completed = "7d"', 'completed = "1s"')
    toml.write_text(text.replace('"error"', '"debug"'))
    assert reload(server)["changed"] == ["retention.completed", "log.level"]
    wait_for(
        lambda: rest.send("GET", f"tasks/{done}").status == 404, "it is past its retention", 60
    )
    assert rest.task(failed)["status"] == "failed"
    again = rest.run("opscore.echo", 1, queue="other")["task_id"]
    wait_for(lambda: f'"debug","message":"{again} #1' in server.output(), server.output)


def test_what_needs_a_restart_is_named_and_not_done(new_server):
    server = new_server()
    rest = server.start().rest
    hook = "http://127.0.0.1:9/"
    server.configure(
        '[net]\nallow = ["127.0.0.1"]\n[webhooks]\nmax_attempts = 3\ntimeout = "3s"\n'
        '[worker]\nslots = 3\n[store]\ndisk_reserve = "1MiB"'
    )
    restart = reload(server)["needs_restart"]
    expected = "net.allow store.disk_reserve webhooks.max_attempts webhooks.timeout worker.slots"
    assert sorted(restart) == expected.split()
    task = {"task_type": "opscore.noop", "webhook": hook}
    rest.expect(422, "POST", "tasks/", task)
    server.stop()
    server.restart().rest.expect(202, "POST", "tasks/", task)


def test_a_worker_after_a_crash_has_what_was_reloaded(new_server):
    server = new_server()
    rest = server.start().rest
    server.add_program("greet", "#!/bin/sh\nprintf hello\n")
    reload(server)
    worker = server.worker_pid()
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: server.worker_pid() not in (None, worker), "a new worker")
    server.wait_ready()
    assert rest.run("greet")["result"] == "hello"

    server.configure("[actors.broken]")
    worker = server.worker_pid()
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: server.worker_pid() not in (None, worker), "a new worker")
    server.wait_ready()
    wait_for(lambda: "configuration of the first start is used" in server.output(), "it says so")
    assert rest.run("opscore.noop")["status"] == "completed"


def test_a_dotenv_is_read_again(new_server):
    server = new_server()
    dotenv = server.folder / ".env"
    dotenv.write_text("OPSCORE_LOG_LEVEL=info\n")
    server.start()
    dotenv.write_text("OPSCORE_LOG_LEVEL=debug\nOPSCORE_WORKER_SLOTS=3\n")
    report = reload(server)
    assert report["changed"] == ["log.level"]
    assert report["needs_restart"] == ["worker.slots"]


def test_a_terminal_that_hangs_up_ends_the_server(new_server):
    server = new_server()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(server.folder)
        with open(server.log, "ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.execve(BINARY, [str(BINARY), "up"], server.environment)
    try:
        wait_for(server.is_ready, lambda: server.output(), timeout=30)
        os.close(terminal)  # the kernel sends SIGHUP to the leader of the session
        ended = wait_for(lambda: os.waitpid(pid, os.WNOHANG) != (0, 0), "it ended", timeout=45)
        assert ended
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise


def test_the_guide_runs_as_written(new_server):
    """Every example of the guide, with the server and the command line that it talks about."""
    guide = (ROOT / "docs" / "howto" / "limits.md").read_text()
    server = new_server()
    (toml,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    server.configure(toml)
    server.start()
    program = server.folder / "bin" / "opscore"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{BINARY}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    examples = re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)
    assert len(examples) == 4
    environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "OPSCORE_URL": f"http://127.0.0.1:{server.port}",
    }
    for example in examples:
        ran = run_shell(server, example, environment)
        assert ran.returncode == 0, f"{example}\n{ran.stdout}{ran.stderr}"
    mail = server.rest.get("queues/mail")
    assert (mail["max_pending"], mail["concurrency"]) == (500, None)


def run_shell(server, script, environment):
    return subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=server.folder,
        env={**server.environment, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
