#!/usr/bin/env python3
"""opscore as an installation of roles, on throw-away services (./dev bench --cluster).

Suites; each is run in turns with what it is compared with, and says medians [smallest .. largest]:

  drain    100,000 preloaded no-op tasks by one fresh worker of 8 slots
  both     bulk submits over HTTP, 4 connections of 1,000 a request, and their execution at once
  pick-up  lone tasks, 50 a second, from before the request until the actor is entered: the actor is
           this program's own web server, so a request of the worker is in it
  delay    `both` through proxies that add nothing, and 2 ms to every round trip to both services
  slots    one worker of 500 slots, a backlog of tasks of 100 ms
  workers  one and two workers of 8 slots, tasks of 10 ms and tasks that do nothing
"""

import argparse
import contextlib
import http.client
import http.server
import json
import multiprocessing
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[1]
BINARY = ROOT / "build" / "opscore"
SERVICES = ROOT / "tools" / "services.sh"
BATCH, SUBMITTERS, LONE_TASKS = 1000, 4, 500
NOOP = {"task_type": "opscore.noop", "input_data": {"payload": "x" * 185}}
sys.path.insert(0, str(ROOT / "tests"))


class Api:
    """One connection."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def ask(self, method, path, body=None):
        headers = {"Content-Type": "application/json"}
        self.connection.request(method, "/api/v1/" + path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path} answered {answer.status}: {text[:300]!r}")
        return json.loads(text)

    def unfinished(self):
        return sum(q["pending"] + q["running"] for q in self.ask("GET", "queues")["queues"])

    def wait_until_all_ended(self):
        while self.unfinished():
            time.sleep(0.01)


class Installation:
    """api, maintenance and workers in a schema of their own, on the services of the environment."""

    def __init__(self, environment, toml=""):
        self.environment = {**os.environ, **environment, "OPSCORE_LOG_LEVEL": "warn"}
        self.environment["OPSCORE_STORE_SCHEMA"] = f"bench_{time.monotonic_ns()}"
        self.toml = toml
        self.cleanup = contextlib.ExitStack()

    def __enter__(self):
        self.folder = pathlib.Path(self.cleanup.enter_context(tempfile.TemporaryDirectory()))
        (self.folder / "opscore.toml").write_text(self.toml, encoding="utf-8")
        self.environment["OPSCORE_STORE_EXPORTS"] = str(self.folder / "exports")
        self.run("migrate").wait()
        self.role("maintenance")
        _, log = self.role("api", "--port", "0")
        self.address = self._address(log)
        return self

    def __exit__(self, *error):
        self.cleanup.close()

    def run(self, *arguments, output=subprocess.DEVNULL):
        return subprocess.Popen(
            [BINARY, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    def role(self, *arguments):
        log = open(self.folder / f"{arguments[0]}-{time.monotonic_ns()}.log", "w+b")
        process = self.run(*arguments, output=log)
        self.cleanup.callback(self.end, process)
        return process, log

    @staticmethod
    def end(process):
        process.terminate()
        process.wait()

    def api(self):
        return Api(self.address)

    def load(self, task, tasks):
        """Bulk submits; tasks a second until all are acknowledged."""
        body = json.dumps([task] * BATCH).encode()
        requests = tasks // BATCH // SUBMITTERS

        def submit():
            api = self.api()
            for _ in range(requests):
                api.ask("POST", "tasks/batch", body)

        threads = [threading.Thread(target=submit) for _ in range(SUBMITTERS)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return requests * SUBMITTERS * BATCH / (time.monotonic() - began)

    def psql(self, statement):
        command = ["psql", "-XAtq", "-d", self.environment["DATABASE_URL"], "-c", statement]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def drain(self, tasks, workers, slots):
        """Tasks a second, from the first start to the last end, by the rows of the store; by fresh
        workers. Every task must have its result, from its first attempt."""
        schema = self.environment["OPSCORE_STORE_SCHEMA"]
        self.psql("CHECKPOINT")  # the drain does not pay for what the submits wrote
        started = [self.role("worker", "--slots", str(slots))[0] for _ in range(workers)]
        self.api().wait_until_all_ended()
        for process in started:
            self.end(process)
        right, span = self.psql(
            "SELECT count(*) FILTER (WHERE state = 4 AND attempt = 1 AND result IS NOT NULL),"
            f" max(finished) - min(started) FROM {schema}.outcomes"
        ).split("|")
        if int(right) != tasks:
            raise SystemExit(f"{right} of {tasks} tasks are as they should be")
        return tasks / (int(span) / 1000)

    def _address(self, log):
        for _ in range(400):
            words = pathlib.Path(log.name).read_text(encoding="utf-8")
            found = re.search(r"http://((?:localhost|127\.0\.0\.1):\d+)", words)
            if found:
                return found[1]
            time.sleep(0.05)
        raise SystemExit(f"the API did not start:\n{words}")


# ---------------------------------------------------------------- suites


def without_rabbitmq():
    return {"RABBITMQ_URL": ""}


def on_each_broker(measure):
    return {
        "PostgreSQL": lambda tasks: measure(without_rabbitmq(), tasks),
        "PostgreSQL + RabbitMQ": lambda tasks: measure({}, tasks),
    }


def drain(environment, tasks):
    with Installation(environment) as installation:
        loaded = installation.load(NOOP, tasks)
        return {"bulk submit, no worker": loaded, "drain": installation.drain(tasks, 1, 8)}


def both(environment, tasks):
    with Installation(environment) as installation:
        installation.role("worker", "--slots", "8")
        installation.load(NOOP, BATCH * SUBMITTERS)  # connections, plans and caches are there
        api = installation.api()
        api.wait_until_all_ended()
        began = time.monotonic()
        submitted = installation.load(NOOP, tasks)
        api.wait_until_all_ended()
        return {"submitted": submitted, "submitted and ended": tasks / (time.monotonic() - began)}


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        arrived = time.monotonic()
        number = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["n"]
        self.server.arrived[number] = arrived
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    def log_message(self, *words):
        pass


def pick_up(environment, _tasks):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        receiver.arrived = {}
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{receiver.server_port}/"
        toml = f'[actors.receive]\nkind = "http"\nurl = "{url}"\n'
        with Installation(environment, toml) as installation:
            installation.role("worker", "--slots", "8")
            api = installation.api()
            sent = []
            next_at = time.monotonic()
            for number in range(2 * LONE_TASKS):
                body = json.dumps({"task_type": "receive", "input_data": {"n": number}})
                sent.append(time.monotonic())
                api.ask("POST", "tasks", body)
                next_at += 0.02
                time.sleep(max(0, next_at - time.monotonic()))
            api.wait_until_all_ended()
        receiver.shutdown()
        # The first half is for connections, plans and caches.
        waits = sorted(
            (receiver.arrived[n] - sent[n]) * 1000 for n in range(LONE_TASKS, 2 * LONE_TASKS)
        )
        return {"p50, ms": waits[len(waits) // 2], "p99, ms": waits[len(waits) * 99 // 100]}


def proxy_process(port, delay_s, connection):
    from harness.proxy import Proxy

    proxy = Proxy(port)
    proxy.delay_s = delay_s
    connection.send(proxy.port)
    signal.pause()


@contextlib.contextmanager
def proxied(delay_s):
    """The environment with both services behind proxies that add this to each direction."""
    environment, processes = {}, []
    for name in ("DATABASE_URL", "RABBITMQ_URL"):
        url = urllib.parse.urlsplit(os.environ[name])
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(
            target=proxy_process, args=(url.port, delay_s, theirs), daemon=True
        )
        process.start()
        processes.append(process)
        address = url.netloc.replace(f":{url.port}", f":{ours.recv()}")
        environment[name] = url._replace(netloc=address).geturl()
    try:
        yield environment
    finally:
        for process in processes:
            process.kill()


def delayed(delay_s):
    def measure(tasks):
        with proxied(delay_s) as environment:
            return both(environment, tasks)

    return measure


def sleeping(milliseconds):
    return {"task_type": "opscore.sleep", "input_data": {"ms": milliseconds}}


def drained_by(task, tasks, workers, slots):
    def measure(_tasks):
        with Installation(without_rabbitmq()) as installation:
            installation.load(task, tasks)
            return {"drain": installation.drain(tasks, workers, slots)}

    return measure


SUITES = {
    "drain": on_each_broker(drain),
    "both": on_each_broker(both),
    "pick-up": on_each_broker(pick_up),
    "delay": {"proxies": delayed(0), "proxies, + 2 ms a round trip": delayed(0.001)},
    "slots": {"500 slots, 100 ms": drained_by(sleeping(100), 40_000, 1, 500)},
    "workers": {
        "1 worker, 10 ms": drained_by(sleeping(10), 8_000, 1, 8),
        "2 workers, 10 ms": drained_by(sleeping(10), 8_000, 2, 8),
        "1 worker, no-op": drained_by(NOOP, 100_000, 1, 8),
        "2 workers, no-op": drained_by(NOOP, 100_000, 2, 8),
    },
}


def run_suite(name, tasks, runs):
    measured = {contender: [] for contender in SUITES[name]}
    for _ in range(runs):
        for contender, measure in SUITES[name].items():
            measured[contender].append(measure(tasks))
    for contender, results in measured.items():
        for what in results[0]:
            values = [result[what] for result in results]
            low, middle, high = min(values), statistics.median(values), max(values)
            digits = 2 if "ms" in what else 0
            print(
                f"{name:8} {contender:30} {what:22} {middle:10,.{digits}f}"
                f"  [{low:,.{digits}f} .. {high:,.{digits}f}]",
                flush=True,
            )


@contextlib.contextmanager
def services():
    """Throw-away ones below build/; their URLs in the environment."""
    with tempfile.TemporaryDirectory(prefix="bench-cluster-", dir=ROOT / "build") as folder:
        kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, check=True)
        if kind.stdout.strip() in (b"tmpfs", b"ramfs"):
            raise SystemExit("build/ is on tmpfs; acknowledged must mean on disk")
        os.chmod(folder, 0o755)  # PostgreSQL does not run as root
        os.environ["OPSCORE_SERVICES"] = f"{folder}/services"
        try:
            started = [SERVICES, "start", "postgres", "rabbitmq"]
            subprocess.run(started, stdout=subprocess.DEVNULL, check=True)
            lines = subprocess.run([SERVICES, "env"], capture_output=True, text=True, check=True)
            os.environ.update(line.split("=", 1) for line in lines.stdout.splitlines())
            yield
        finally:
            subprocess.run([SERVICES, "stop"], check=True)


def main():
    parser = argparse.ArgumentParser(
        prog="./dev bench --cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="none: all of them")
    parser.add_argument("--tasks", type=int, default=100_000, help="a multiple of 4,000")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    if options.tasks < 4000 or options.tasks % (BATCH * SUBMITTERS):
        parser.error("--tasks takes a multiple of 4,000")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # services end with this process
    print(f"{os.cpu_count()} cores for all, load {os.getloadavg()[0]:.1f} before; 200 B a task")
    with services():
        for name in options.suites or SUITES:
            run_suite(name, options.tasks, options.runs)


if __name__ == "__main__":
    main()
