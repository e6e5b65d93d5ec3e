"""Ready means ready: a worker says so once a task of its own has gone the whole way."""

import os
import select
import socket
import subprocess

import pytest

from harness.cluster import psql
from harness.server import BINARY, Server, free_port
from harness.waiting import wait_for

AWAY = "postgresql://127.0.0.1:1/nowhere"


def workers(rest, query=""):
    return [found for found in rest.get(f"workers{query}")["workers"] if found["slots"]]


@pytest.fixture
def manager(tmp_path):
    """Plays systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        yield listening


def canary_queues(rabbitmq):
    queues = rabbitmq.ask("GET", f"queues/{rabbitmq.vhost}")
    return [queue["name"] for queue in queues if "canary" in queue["name"]]


def run_worker(cluster, *arguments, timeout=30):
    """`opscore worker` as a command that ends."""
    return cluster.add("worker").cli("worker", *arguments, timeout=timeout)


class TestCanary:
    def test_it_consumes_when_its_canary_has_come_back(self, server):
        (worker,) = workers(server.rest)
        assert worker["state"] == "consuming"
        assert worker["canary"]["state"] == "arrived"
        assert "store, intake, claim, slot and finish took" in worker["canary"]["words"]

    def test_nobody_else_sees_it(self, server):
        assert server.rest.get("tasks/")["tasks"] == []
        assert server.rest.get("queues")["queues"] == []
        assert "opscore.canary" not in str(server.rest.get("actors"))
        assert b"canary" not in server.rest.send("GET", "/metrics").body
        refused = server.rest.send("POST", "tasks/", {"task_type": "opscore.canary"})
        assert refused.status == 422
        body = {"task_type": "opscore.echo", "queue": "opscore.canary.1"}
        assert server.rest.send("POST", "tasks/", body).status == 422

    def test_through_rabbitmq(self, new_cluster, rabbitmq):
        cluster = new_cluster(environment={"RABBITMQ_URL": rabbitmq.url}).migrate()
        api = cluster.api()
        cluster.worker()
        assert api.cli("workers", "wait", "--ready").returncode == 0
        (worker,) = workers(api.rest)
        assert "store, broker, intake, claim, slot and finish" in worker["canary"]["words"]
        left = psql(cluster.url, f'SELECT count(*) FROM "{cluster.schema}".tasks')
        assert left == "0"
        # Its queue is the connection's own, and goes with it.
        wait_for(lambda: canary_queues(rabbitmq), "its queue is seen", timeout=30)
        cluster.processes[-1].stop()
        wait_for(lambda: not canary_queues(rabbitmq), "its queue is gone", timeout=30)

    def test_without_rabbitmq_it_is_connecting_and_works(self, new_cluster):
        cluster = new_cluster(environment={"RABBITMQ_URL": "amqp://127.0.0.1:1/"}).migrate()
        api = cluster.api()
        cluster.worker()
        done = api.cli("workers", "wait", "--ready", "--timeout", "1s")
        assert done.returncode == 6
        assert "its canary: RabbitMQ at" in done.stderr
        assert workers(api.rest)[0]["state"] == "connecting"
        assert api.rest.run("opscore.echo", 7)["result"] == 7


class TestSignals:
    @pytest.mark.parametrize("supervised", [True, False])
    def test_the_descriptor_and_the_file(self, new_server, tmp_path, supervised):
        server = new_server()
        reading, writing = os.pipe()
        file = tmp_path / "ready"
        with open(server.log, "ab") as log:
            server.process = subprocess.Popen(
                [BINARY, "up", "--ready-fd", str(writing), "--ready-file", str(file)]
                + ([] if supervised else ["--no-supervise"]),
                cwd=server.folder,
                env=server.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[writing],
            )
        os.close(writing)
        with open(reading, encoding="utf-8") as pipe:
            assert pipe.read() == "ready\n", server.output()
        assert workers(server.rest)[0]["state"] in ("connecting", "consuming")
        pid = int(file.read_text())
        assert pid == (server.worker_pid() if supervised else server.process.pid)
        assert server.stop() == 0
        assert not file.exists()

    def test_nothing_is_said_while_the_store_is_away(self, tmp_path, manager):
        server = Server(
            tmp_path / "worker",
            {"DATABASE_URL": AWAY, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        file = tmp_path / "ready"
        try:
            server.launch("--ready-file", file, role="worker")
            wait_for(
                lambda: server.output().count("connecting to the store") >= 2, server.output, 20
            )
            assert not file.exists()
            assert server.stop() == 0
            assert manager.recv(100) == b"STOPPING=1"
        finally:
            server.clean_up()

    def test_systemd_hears_it_when_tasks_get_through(self, new_cluster, manager, tmp_path):
        cluster = new_cluster().migrate()
        api = cluster.api()
        worker = cluster.add("worker", environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        worker.launch()
        assert manager.recv(100) == b"READY=1"
        assert api.cli("workers", "wait", "--ready", "--timeout", "5s").returncode == 0
        assert workers(api.rest)[0]["canary"]["state"] == "arrived"

    def test_a_descriptor_that_is_none_is_refused(self, tmp_path):
        server = Server(tmp_path / "server")
        done = server.cli("up", "--ready-fd", "77")
        assert done.returncode != 0
        assert "--ready-fd 77: it is not open" in done.stderr

    def test_workers_own_probe(self, new_cluster):
        cluster = new_cluster(environment={"RABBITMQ_URL": "amqp://127.0.0.1:1/"}).migrate()
        probe = cluster.add("worker")
        probe.launch("--probes-port", probe.port)
        probe.wait_for_words("session")
        probe.wait_for_words("did not get through")
        answer = probe.rest.send("GET", "/ready")
        assert answer.status == 503
        assert "its worker is not consuming: its canary: " in str(answer.body)


class TestCheck:
    def test_zero_when_tasks_get_through(self, new_cluster, rabbitmq):
        cluster = new_cluster(environment={"RABBITMQ_URL": rabbitmq.url}).migrate()
        done = run_worker(cluster, "--check")
        assert (done.returncode, done.stderr.count("error")) == (0, 0), done.stderr
        assert "checked: store, broker, intake, claim, slot and finish took" in done.stdout

    def test_it_takes_nothing_from_a_queue(self, new_cluster):
        cluster = new_cluster().migrate()
        api = cluster.api()
        task = api.rest.submit("opscore.echo", 1)["task_id"]
        assert run_worker(cluster, "--check").returncode == 0
        assert api.rest.get(f"tasks/{task}")["status"] == "pending"
        (ended,) = workers(api.rest, "?ended_within=1h")
        assert ended["state"] == "stopped" and ended["last_words"].startswith("checked: ")

    def test_one_with_the_reason(self, new_cluster):
        cluster = new_cluster(environment={"RABBITMQ_URL": "amqp://127.0.0.1:1/"}).migrate()
        done = run_worker(cluster, "--check", "--log-file", "log")
        assert done.returncode == 1
        assert "the check failed: its canary: RabbitMQ at" in done.stderr
        log = (cluster.processes[-1].folder / "log").read_text()
        assert "the check failed: its canary: RabbitMQ at" in log

    def test_without_a_store(self, tmp_path):
        server = Server(tmp_path / "worker", {"DATABASE_URL": AWAY})
        done = server.cli("worker", "--check")
        assert done.returncode == 1
        assert "refused" in done.stderr


class TestLastWords:
    """The reason is on every sink."""

    def test_of_a_worker_whose_application_is_not_there(self, new_cluster):
        cluster = new_cluster().migrate()
        api = cluster.api()
        done = run_worker(cluster, "--python", "no_such_module", "--log-file", "log")
        assert done.returncode != 0
        log = (cluster.processes[-1].folder / "log").read_text()
        (ended,) = rows_of(api.rest)
        for sink in (done.stderr, log, ended["last_words"]):
            assert "no_such_module" in sink

    def test_of_a_port_that_is_taken(self, new_server):
        first = new_server("first").start()
        second = new_server("second")
        done = second.cli("up", "--port", first.port, "--log-file", "log")
        assert done.returncode != 0
        assert str(first.port) in done.stderr
        assert str(first.port) in (second.folder / "log").read_text()
        second.start()
        (ended,) = [found for found in rows_of(second.rest) if found["ended_at"]]
        assert str(first.port) in ended["last_words"]

    def test_of_a_configuration_that_is_wrong(self, tmp_path):
        server = Server(tmp_path / "server")
        server.configure("[worker]\nslots = 'many'")
        done = server.cli("up", "--log-file", "log")
        assert done.returncode == 2
        assert "worker.slots" in done.stderr
        assert "worker.slots" in (server.folder / "log").read_text()

    def test_a_store_that_is_required(self, tmp_path):
        server = Server(tmp_path / "worker", {"DATABASE_URL": AWAY})
        done = server.cli("worker", "--require-store", timeout=10)
        assert done.returncode == 1
        assert "refused" in done.stderr


def rows_of(rest):
    return rest.get("workers?ended_within=1h")["workers"]


def test_waiting_says_what_is_missing(new_cluster):
    cluster = new_cluster().migrate()
    api = cluster.api()
    done = api.cli("workers", "wait", "--ready", "--timeout", "100ms")
    assert (done.returncode, "there is no worker" in done.stderr) == (6, True), done.stderr
    assert api.cli("workers", "wait", "--ready", "--timeout", "soon").returncode != 0
    assert api.cli("workers", "wait").returncode == 2


def test_a_log_that_nobody_reads_stops_no_task(new_server):
    """stdout and stderr are a pipe that is never read, with a line for each attempt."""
    server = new_server()
    server.configure('[log]\nlevel = "debug"')
    reading, writing = os.pipe()
    server.process = subprocess.Popen(
        [BINARY, "up"],
        cwd=server.folder,
        env=server.environment,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)
    wait_for(server.is_ready, "it is ready")
    batch = [{"task_type": "opscore.noop"} for _ in range(1000)]
    for _ in range(12):  # more lines than the log keeps
        assert server.rest.send("POST", "tasks/batch", batch).status == 202
    wait_for(
        lambda: server.rest.queue("default")["completed"] == 12_000, "all are done", timeout=60
    )
    text = server.rest.send("GET", "/metrics").body.decode()
    (dropped,) = [
        line.split()[-1]
        for line in text.splitlines()
        if line.startswith("opscore_log_lines_dropped_total ")
    ]
    assert float(dropped) > 0
    assert select.select([reading], [], [], 0)[0], "the pipe is full"
    assert server.stop() == 0
    os.close(reading)


def test_an_up_without_its_rabbitmq_takes_tasks_and_is_ready(new_server):
    """It polls the store meanwhile; only its messages of Dramatiq wait."""
    url = f"amqp://127.0.0.1:{free_port()}/"
    server = new_server(environment={"RABBITMQ_URL": url, "OPSCORE_ADOPT": "default"}).start()
    (worker,) = server.rest.get("workers")["workers"]
    assert worker["state"] == "connecting"
    (reason,) = server.rest.send("GET", "/ready").json()["reasons"]
    assert "takes no messages of Dramatiq" in reason
    assert server.rest.run("opscore.echo", 1)["result"] == 1
