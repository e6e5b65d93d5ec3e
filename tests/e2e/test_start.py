"""Starting, refusing to start, and stopping."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from harness.server import BINARY, PLAIN_ENVIRONMENT
from harness.waiting import wait_for


def refused(server, *arguments, role="up", code=2):
    process = server.launch(*arguments, role=role)
    assert process.wait(15) == code, server.output()
    output = server.output()
    assert "terminate called" not in output and "core dumped" not in output
    return output


def test_a_second_up_on_the_same_file_names_the_first(new_server):
    server = new_server()
    server.start()
    second = new_server("second")
    output = refused(second, "--data", server.data, code=second_code(second, server))
    pids = {int(number) for number in re.findall(r"\d+", output)}
    assert {server.process.pid, server.worker_pid()} & pids, output


def second_code(second, server):
    """Whatever it is, it is not success, and the tests below hold the message."""
    probe = subprocess.run(
        [BINARY, "up", "--data", server.data, "--port", "0"],
        cwd=second.folder,
        env=PLAIN_ENVIRONMENT,
        capture_output=True,
        timeout=15,
        check=False,
    )
    assert probe.returncode != 0
    return probe.returncode


def test_sigterm_finishes_and_exits_0(new_server):
    server = new_server()
    rest = server.start().rest
    running = rest.submit("opscore.sleep", {"ms": 1500})["task_id"]
    rest.wait(running, "running")
    assert server.stop() == 0
    server.restart()
    task = rest.task(running)
    assert (task["status"], task["attempt"]) == ("completed", 1)


def test_sigterm_hands_back_what_takes_too_long(new_server):
    server = new_server()
    server.configure('[worker]\ndrain_grace = "1s"')
    rest = server.start().rest
    running = rest.submit("opscore.sleep", {"ms": 60_000})["task_id"]
    rest.wait(running, "running")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 10
    server.restart()
    task = rest.wait(running, "running")
    assert (task["attempts"], task["attempt"]) == (0, 2), "handing back is not charged"


def test_a_second_signal_exits_at_once(new_server):
    server = new_server()
    rest = server.start().rest
    rest.wait(rest.submit("opscore.sleep", {"ms": 60_000})["task_id"], "running")
    server.process.send_signal(signal.SIGTERM)

    def draining():
        try:
            return rest.send("GET", "/ready", timeout=1).status != 200
        except OSError:
            return True

    wait_for(draining, "the drain began")
    began = time.monotonic()

    def ended():
        # One that comes within half a second of the first counts as the same request.
        server.process.send_signal(signal.SIGTERM)
        return server.process.poll() is not None

    wait_for(ended, "a second signal ends it")
    assert time.monotonic() - began < 10, "long before what runs is over"


def test_roles_refuse_sqlite(new_server):
    server = new_server()
    (server.folder / ".env").write_text("X=1\n")
    for role in ("api", "worker", "maintenance"):
        output = refused(server, role=role)
        assert "PostgreSQL" in output and ".env" in output and "opscore.toml" in output


def test_sqlalchemys_url_is_taken_and_its_password_is_never_shown(new_server):
    url = "postgresql+asyncpg://u:hunter22@127.0.0.1:1/x"
    server = new_server(environment={"DATABASE_URL": url})
    shown = server.cli("config", "show").stdout
    assert "asyncpg" in shown and "postgresql://u:***@127.0.0.1:1/x" in shown
    server.launch("--require-store", role="api")
    assert server.process.wait(15) == 1
    assert "127.0.0.1" in server.output()
    assert "hunter22" not in shown + server.output()


def test_binding_elsewhere_needs_a_token(new_server):
    output = refused(new_server(), "--address", "0.0.0.0")
    assert "OPSCORE_API_TOKEN" in output and "--allow-unauthenticated" in output


def test_binding_elsewhere_with_consent(new_server):
    server = new_server()
    server.start("--address", "0.0.0.0", "--allow-unauthenticated")


def test_a_token_is_checked(new_server):
    server = new_server(environment={"OPSCORE_API_TOKEN": "a-long-enough-token"})
    server.start("--address", "0.0.0.0")
    rest = server.rest
    assert rest.run("opscore.noop")["status"] == "completed"
    for wrong in ("", "Bearer wrong", "Bearer a-long-enough-tokem", "Basic a-long-enough-token"):
        answer = rest.send("GET", "tasks", headers={"Authorization": wrong})
        assert answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert rest.send("GET", "/health", headers={"Authorization": wrong}).status == 200
    assert server.cli("tasks", "list").returncode == 0
    assert server.cli("tasks", "list", environment={"OPSCORE_API_TOKEN": "x" * 10}).returncode != 0


def test_a_token_file(new_server):
    server = new_server()
    (server.folder / "token").write_text("token-from-a-file\n")
    server.rest.token = "token-from-a-file"
    server.start("--token-file", server.folder / "token")
    assert server.rest.send("GET", "tasks").status == 200
    server.rest.token = None
    assert server.rest.send("GET", "tasks").status == 401


def test_a_taken_port_is_named(new_server, server):
    other = new_server("other")
    output = refused(other, "--port", server.port, code=other_code(other, server))
    assert str(server.port) in output


def other_code(other, server):
    probe = subprocess.run(
        [BINARY, "up", "--port", str(server.port)],
        cwd=other.folder,
        env=PLAIN_ENVIRONMENT,
        capture_output=True,
        timeout=15,
        check=False,
    )
    assert probe.returncode != 0
    return probe.returncode


def failed_start(server, timeout=15):
    process = server.launch()
    assert process.wait(timeout) > 0, server.output()
    assert "terminate called" not in server.output()
    return server.output()


def test_a_corrupt_data_file(new_server):
    server = new_server()
    server.data.parent.mkdir()
    server.data.write_bytes(b"this is not a database" * 1000)
    output = failed_start(server)
    assert "opscore.db" in output and "database" in output
    assert server.data.read_bytes().startswith(b"this is not"), "the file was not touched"


def test_a_data_file_damaged_in_the_middle(new_server):
    server = new_server()
    rest = server.start().rest
    rest.expect(202, "POST", "tasks/batch", [{"task_type": "opscore.noop"}] * 2000)
    wait_for(lambda: rest.queue("default")["pending"] == 0, "drained")
    assert server.stop() == 0
    size = server.data.stat().st_size
    with open(server.data, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(min(size - 4096, 40 * 4096)))
    process = server.launch()

    def decided():
        return process.poll() is not None or server.is_ready()

    wait_for(decided, lambda: server.output(), 20)
    if process.poll() is None:  # it started: then damage is an error answer, not a crash
        worker = server.worker_pid()
        answer = rest.send("GET", "tasks?limit=1000")
        assert answer.status in (200, 500), answer
        assert server.worker_pid() == worker
    else:
        assert process.returncode > 0 and "opscore.db" in server.output()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change users")
def test_a_read_only_folder_for_a_user(new_server):
    server = new_server()
    temporary = pathlib.Path(tempfile.gettempdir())
    for folder in (server.folder, *server.folder.parents):
        if temporary in folder.parents:
            folder.chmod(0o755)
    server.data.parent.mkdir(mode=0o555)
    binary = shutil.copy(BINARY, server.folder)  # the other user may not look into this clone
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary, "up"],
        cwd=server.folder,
        env=PLAIN_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode > 0 and "terminate called" not in output
    assert "opscore-data" in output


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own, of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "opscore-test", folder],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"this machine does not let us mount: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=False)


def test_a_full_disk_refuses_work_and_loses_none(new_server, small_disk):
    server = new_server()
    server.configure('[store]\ndisk_reserve = "8MiB"')
    server.start("--data", small_disk / "opscore.db")
    rest = server.rest
    accepted = []
    payload = "x" * 200_000

    def full():
        answer = rest.send(
            "POST", "tasks", {"task_type": "opscore.noop", "input_data": payload, "delay": "1s"}
        )
        if answer.status == 202:
            accepted.append(answer.json()["task_id"])
            return False
        assert answer.status == 507, answer
        assert answer.json()["type"].endswith("disk-low")
        return True

    wait_for(full, "the disk is full", 60)
    assert accepted
    # Until less than the reserve is free, so that the smallest task is refused, too. Piece by piece,
    # since checkpoints of the log give space back meanwhile, and finishes need some.
    filler = small_disk / "filler"
    filled_at = 0.0

    def is_low():
        nonlocal filled_at
        if not server.is_ready():
            return True
        if time.monotonic() - filled_at > 0.3:
            with open(filler, "ab") as more:
                more.write(b"\0" * 500_000)
            filled_at = time.monotonic()
        return False

    wait_for(is_low, "it is not ready for submits")
    assert "MiB are free" in str(rest.expect(503, "GET", "/ready")["reasons"])
    assert rest.send("POST", "tasks", {"task_type": "opscore.noop"}).status == 507
    for task_id in accepted:  # finishes still fit
        assert rest.wait(task_id, timeout=60)["status"] == "completed"
    filler.unlink()
    server.wait_ready()


def test_a_disk_that_is_really_full(new_server, small_disk):
    server = new_server()
    server.configure('[store]\ndisk_reserve = "0"')
    server.start("--data", small_disk / "opscore.db")
    rest = server.rest
    kept = rest.submit("opscore.echo", 1, delay="1h")["task_id"]
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            pass
    answer = None
    for _ in range(200):
        answer = rest.send("POST", "tasks", {"task_type": "opscore.echo", "delay": "1h"})
        if answer.status != 202:
            break
    assert answer.status in (503, 507), answer
    assert rest.task(kept)["status"] == "scheduled"
    filler.unlink()
    wait_for(
        lambda: rest.send("POST", "tasks", {"task_type": "opscore.noop"}).status == 202,
        "work is accepted again",
    )


def test_memory_and_start(new_server):
    """Coarse bounds, so that a leak or a slow start is noticed; the bench has the real figures."""
    server = new_server()
    server.start()
    status = pathlib.Path(f"/proc/{server.worker_pid()}/status").read_text()
    resident_kb = int(re.search(r"VmRSS:\s+(\d+)", status)[1])
    assert resident_kb < 60_000
