"""Many clients at once, in small; the suites `waiting` and `idle` of `opscore bench` are the large
form."""

import contextlib
import json
import re
import resource
import subprocess

import pytest

from harness.processes import memory_mb, threads_of
from harness.raw import RawConnection, refused, request
from harness.rest import EventStream
from harness.server import BINARY, PLAIN_ENVIRONMENT
from harness.waiting import wait_for

CLIENTS = 300  # of each kind; with the server's ends they have to fit into a limit of 1,024 files


@pytest.fixture
def crowd():
    """Opens connections that are closed at the end of the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as stack:

        def make(server, count, data=b"", **options):
            connections = [RawConnection(server.port, **options) for _ in range(count)]
            for connection in connections:
                stack.enter_context(connection).send(data)
            return connections

        yield make
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def events_of(task_id):
    return request(target=f"/api/v1/tasks/{task_id}/events", fields=["Accept: text/event-stream"])


def test_who_waits_holds_no_thread_and_little_memory(server, crowd):
    rest, pid = server.rest, server.process.pid
    task_id = rest.submit("opscore.noop", delay="1h")["task_id"]
    rest.run("opscore.noop")
    before = memory_mb(pid)
    waits = crowd(server, CLIENTS, request(target=f"/api/v1/tasks/{task_id}?wait=300s"))
    streams = crowd(server, CLIENTS, events_of(task_id))
    for stream in streams:
        assert stream.answer()[0] == 200
    assert threads_of(pid) < CLIENTS, "the pool's, whoever waits"
    assert memory_mb(pid) - before < 20, "a few KiB for each"
    assert rest.run("opscore.echo", 1)["result"] == 1
    rest.expect(200, "POST", f"tasks/{task_id}/cancel")
    for wait in waits:
        status, body = wait.answer()
        assert status == 200 and b'"status":"cancelled"' in body
    for stream in streams:
        assert stream.is_closed()
        assert b"event: cancelled" in stream.pending


def test_idle_connections_do_not_keep_others_out(new_server, crowd):
    server = new_server()
    with open(server.folder / "opscore.toml", "a", encoding="utf-8") as file:
        file.write("connections_max = 50\n")
    server.start()
    idle = crowd(server, 200)
    assert server.rest.run("opscore.echo", 1)["result"] == 1
    assert idle[0].is_closed(), "it was idle longest"
    assert refused(server, "connection_limit") >= 150


def test_when_all_are_busy_the_answer_is_503(new_server, crowd):
    server = new_server()
    with open(server.folder / "opscore.toml", "a", encoding="utf-8") as file:
        file.write("connections_max = 10\n")
    task_id = server.start().rest.submit("opscore.noop", delay="1h")["task_id"]
    streams = crowd(server, 10, events_of(task_id))
    for stream in streams:
        assert stream.answer()[0] == 200
    [late] = crowd(server, 1)
    assert late.answer()[0] == 503
    streams[0].socket.close()
    wait_for(lambda: server.is_ready(), "the place of who has left is free")


def test_running_out_of_files_closes_idle_connections(new_server, crowd):
    server = new_server()
    server.start(under=["prlimit", "--nofile=100:100"])
    assert "too few for server.connections_max" in server.output()
    idle = crowd(server, 150)
    for _ in range(20):
        assert server.rest.get("tasks", timeout=60)["tasks"] == []
    assert idle[0].is_closed()


def test_the_limit_of_files_is_raised(new_server):
    server = new_server()
    server.start(under=["prlimit", "--nofile=200:800", "--"])
    limits = open(f"/proc/{server.worker_pid()}/limits", encoding="ascii").read()
    assert re.search(r"Max open files\s+800\s+800", limits)


ATTEMPTS = 150


def numbers(text):
    """The ids of the events that came whole."""
    whole = text[: text.rfind(b"\n\n") + 2]
    return [int(number) for number in re.findall(rb"^id: (\d+)$", whole, re.MULTILINE)]


def test_a_slow_reader_is_cut_off_and_resumes_without_a_gap(new_server, crowd):
    server = new_server()
    with open(server.folder / "opscore.toml", "a", encoding="utf-8") as file:
        file.write('client_timeout = "1s"\n')
    rest = server.start().rest
    task = rest.run(
        "opscore.fail",
        {"message": "x" * 30_000},
        within=60,
        max_attempts=ATTEMPTS,
        backoff={"min": "0s", "max": "0s"},
    )
    assert task["attempts"] == ATTEMPTS
    total = len(rest.get(f"tasks/{task['task_id']}/events")["events"])
    [slow] = crowd(server, 1, events_of(task["task_id"]), receive_buffer=4096)
    wait_for(lambda: refused(server, "slow_reader"), "the slow reader is cut off", timeout=60)
    assert slow.is_closed()
    seen = numbers(slow.pending)
    assert 0 < len(seen) < total, "cut off on the way"
    with EventStream(rest, f"tasks/{task['task_id']}/events", last_event_id=seen[-1]) as stream:
        seen += [int(event["id"]) for event in stream]
    assert seen == list(range(1, total + 1))


def test_a_running_task_is_shown_by_its_own_id(server):
    server.rest.submit("opscore.sleep", {"ms": 60_000}, task_id="order-4711")
    server.rest.wait("order-4711", "running")

    def running():
        workers = server.rest.get("workers")["workers"]
        return [task["task_id"] for worker in workers for task in worker["running"]]

    wait_for(running, "the worker says what it runs")
    assert running() == ["order-4711"]
    assert "order-4711" in server.cli("workers", "--json").stdout



@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 16_000, reason="too few files may be open"
)
def test_the_bench_of_waiting_says_memory_and_the_ratio_of_latencies(tmp_path):
    options = ("--suite", "waiting", "--tasks", "400", "--runs", "1", "--json")
    done = subprocess.run(
        [BINARY, "bench", *options, "--data", tmp_path / "bench"],
        cwd=tmp_path,
        env=PLAIN_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (suite,) = json.loads(done.stdout)["suites"]
    run = suite["median_run"]
    assert suite["figure"] == "p99_to_without" and run["p99_to_without"] > 0
    assert 0 < run["pss_mb"] < 1000 and run["p99_without_ms"] > 0
