"""opscore backup and opscore restore."""

import contextlib
import json
import re
import random
import resource
import signal
import sqlite3
import subprocess
import threading

import pytest

from harness.server import BINARY
from harness.waiting import wait_for


def backup_facts(path):
    """What the last block of a backup says."""
    block = path.read_bytes()[-4096:]
    magic, text = block.split(b"\n", 1)
    assert magic == b"opscore backup 1"
    return json.loads(text)


def rewrite(source, target, change):
    """A copy of a backup with other bytes."""
    content = bytearray(source.read_bytes())
    changed = change(content)
    target.write_bytes(content if changed is None else changed)
    return target


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A backup of a stopped installation with a few tasks, which nobody changes."""
    from harness.server import Server

    folder = tmp_path_factory.mktemp("made")
    server = Server(folder / "server")
    try:
        rest = server.start().rest
        ids = [rest.run("opscore.echo", n)["task_id"] for n in range(5)]
        later = {"task_type": "opscore.noop", "delay": "1h"}
        rest.expect(202, "POST", "tasks/batch", [later] * 300)
        server.stop()
        file = folder / "opscore.backup"
        done = server.cli("backup", file, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["tasks"]["completed"] == 5
    finally:
        server.clean_up()
    return file, ids


def test_backup_under_load_and_restore_elsewhere(new_server, tmp_path):
    server = new_server()
    rest = server.start().rest
    running = rest.submit("opscore.sleep", {"ms": 600_000}, task_id="mine")["task_id"]
    rest.wait(running, "running")
    known, stop = [], threading.Event()

    def submit():
        while not stop.is_set():
            known.append(rest.submit("opscore.echo", len(known))["task_id"])

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        wait_for(lambda: len(known) > 20, "there is load")
        before = len(known)
        file = tmp_path / "opscore.backup"
        done = server.cli("backup", file)
        assert done.returncode == 0, done.stderr
        assert "tasks" in done.stdout and str(file) in done.stdout
        assert "100 %" in done.stderr or "read back" in done.stderr, done.stderr
    finally:
        stop.set()
        thread.join()
    assert not list(tmp_path.glob("*.partial"))
    copy = sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()

    other = new_server("other")
    done = other.cli("restore", file, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["kept"] is None and said["tasks"] == backup_facts(file)["tasks"]
    rest = other.start().rest
    for task_id in known[:before]:
        rest.task(task_id)
    wait_for(
        lambda: rest.task("mine")["attempt"] == 2,
        "what ran when the backup was made runs again",
    )
    assert rest.task("mine")["attempts"] == 0, "uncharged"
    workers = rest.get("workers?ended_within=1h")["workers"]
    assert len(workers) == 2 and sum(1 for worker in workers if worker["ended_at"]) == 1


def test_a_folder_stands_for_the_data_file_in_it(new_server, made, tmp_path):
    server, folder = new_server(), tmp_path / "elsewhere"
    folder.mkdir()
    done = server.cli("restore", made[0], "--data", folder)
    assert done.returncode == 0 and f"{folder}/opscore.db: restored" in done.stdout, done
    rest = server.start("--data", folder).rest
    assert rest.task(made[1][0])["result"] == 0
    backup = tmp_path / "second.backup"
    assert server.cli("backup", backup, environment={"OPSCORE_DATA": str(folder)}).returncode == 0
    server.stop()
    done = server.cli("restore", backup, "--data", f"{tmp_path}/not/yet/")
    assert done.returncode == 0 and (tmp_path / "not/yet/opscore.db").exists(), done


def test_restore_is_refused_while_a_server_has_the_file(new_server, made):
    server = new_server().start()
    task = server.rest.run("opscore.echo", 1)["task_id"]
    done = server.cli("restore", made[0])
    assert done.returncode == 5, done
    assert str(server.process.pid) in done.stderr
    assert server.rest.task(task)["status"] == "completed"


def test_restore_keeps_what_was_there(new_server, made):
    server = new_server()
    rest = server.start().rest
    old = rest.run("opscore.echo", "old")["task_id"]
    server.kill()  # its last commits are in the WAL
    done = server.cli("restore", made[0], "--json")
    assert done.returncode == 0, done.stderr
    kept = json.loads(done.stdout)["kept"]
    rest = server.start().rest
    assert [rest.task(task_id)["result"] for task_id in made[1]] == [0, 1, 2, 3, 4]
    rest.expect(404, "GET", f"tasks/{old}")
    server.stop()
    look = server.cli("tasks", "show", old, "--json", environment={"OPSCORE_DATA": kept})
    assert look.returncode == 0 and json.loads(look.stdout)["result"] == "old", look.stderr


def test_restore_stops_the_jobs_of_the_backup(new_server, made, tmp_path):
    server = new_server()
    assert server.cli("restore", made[0]).returncode == 0
    rest = server.start().rest
    job = rest.expect(202, "POST", "jobs", {"action": "delete", "filter": {"queue": "nowhere"}})
    path = f"jobs/{job['job_id']}"
    wait_for(lambda: rest.get(path)["state"] == "completed", "the job is completed")
    server.stop()
    with contextlib.closing(sqlite3.connect(server.data)) as database, database:
        database.execute("UPDATE jobs SET state = 1, ended = NULL")  # as if under way
    backup = tmp_path / "opscore.backup"
    assert server.cli("backup", backup).returncode == 0
    assert json.loads(server.cli("restore", backup, "--json").stdout)["jobs_stopped"] == 1
    job = server.start().rest.get(path)
    assert job["state"] == "stopped" and "restored" in job["error"]


def damage(at):
    def change(content):
        content[at] ^= 0x41

    return change


@pytest.mark.parametrize(
    "change, words",
    [
        (damage(5), "checksum"),
        (damage(4096 * 3 + 77), "checksum"),
        (damage(-4096), "not a backup"),
        (damage(-4096 + 18), "damaged"),
        (lambda content: content[:-4096], "not a backup"),
        (lambda content: content[: len(content) // 2], "not a backup"),
        (lambda content: content[4096:], "damaged"),
        (lambda content: b"", "not a backup"),
        (lambda content: b"hello\n" * 3000, "not a backup"),
        (lambda content: content.replace(b'"completed":5', b'"completed":6'), "5 completed"),
        (lambda content: re.sub(rb'"schema":\d', b'"schema":9', content), "newer"),
    ],
)
def test_a_file_that_is_no_sound_backup_is_refused(new_server, made, tmp_path, change, words):
    server = new_server()
    bad = rewrite(made[0], tmp_path / "bad.backup", change)
    done = server.cli("restore", bad)
    assert done.returncode == 5 and words in done.stderr, done
    left = [path.name for path in server.data.parent.glob("*")]
    assert left in ([], ["opscore.db.lock"]), left


def test_a_missing_backup_is_exit_3(new_server):
    done = new_server().cli("restore", "nowhere.backup", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"] == "not-found"


def test_backup_overwrites_nothing_but_a_backup(new_server, made, tmp_path):
    server = new_server()
    assert server.cli("backup", tmp_path / "x").returncode == 1, "there is no data file yet"
    assert server.cli("restore", made[0]).returncode == 0
    precious = tmp_path / "precious"
    precious.write_text("not to be lost")
    for target in (precious, server.data, tmp_path):
        done = server.cli("backup", target)
        assert done.returncode == 5, done
    assert precious.read_text() == "not to be lost"
    target = tmp_path / "twice.backup"
    for _ in range(2):
        assert server.cli("backup", target).returncode == 0
    assert server.cli("restore", target).returncode == 0


def test_no_space_is_said_and_leaves_nothing(new_server, made, tmp_path):
    server = new_server()
    assert server.cli("restore", made[0]).returncode == 0
    size = server.data.stat().st_size

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    def run(*arguments):
        return subprocess.run(
            [BINARY, *map(str, arguments)],
            cwd=server.folder,
            env=server.environment,
            capture_output=True,
            text=True,
            preexec_fn=limited,
            check=False,
        )

    target = tmp_path / "opscore.backup"
    done = run("backup", target)
    assert done.returncode == 1 and "disk" in done.stderr, done
    assert not list(tmp_path.glob("opscore.backup*"))
    before = sorted(path.name for path in server.data.parent.iterdir())
    done = run("restore", made[0])
    assert done.returncode == 1 and "disk" in done.stderr, done
    assert sorted(path.name for path in server.data.parent.iterdir()) == before


def kill_after(server, seconds, *arguments):
    """Runs a command and kills it after so long; whether it got through before."""
    process = subprocess.Popen(
        [BINARY, *map(str, arguments)],
        cwd=server.folder,
        env=server.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return process.wait(timeout=seconds) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


def tasks_in(path):
    """The tasks of a data file, read as after a crash; checks that it is sound."""
    database = sqlite3.connect(path)
    try:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return database.execute("SELECT count(*) FROM tasks").fetchone()[0]
    finally:
        database.close()


def test_a_kill_at_any_time_leaves_the_old_state_or_the_new(new_server, made, tmp_path):
    server = new_server()
    rest = server.start().rest
    rest.run("opscore.echo", "old")
    server.kill()
    backup = tmp_path / "opscore.backup"
    assert server.cli("backup", backup).returncode == 0
    dice = random.Random(7)
    for turn in range(12):
        source = (made[0], backup)[turn % 2]
        before = tasks_in(server.data)
        through = kill_after(server, dice.uniform(0, 0.15), "restore", source)
        after = tasks_in(server.data)
        wanted = sum(backup_facts(source)["tasks"].values())
        assert after == wanted if through else after in (before, wanted)
        facts = backup_facts(backup)
        kill_after(server, dice.uniform(0, 0.1), "backup", backup)
        assert sum(backup_facts(backup)["tasks"].values()) in (
            sum(facts["tasks"].values()),
            tasks_in(server.data),
        )
    assert server.cli("restore", made[0]).returncode == 0
    assert server.start().rest.task(made[1][0])["result"] == 0
