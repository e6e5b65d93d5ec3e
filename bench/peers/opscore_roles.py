"""opscore as an installation of roles on PostgreSQL and, where RABBITMQ_URL is set, RabbitMQ:

    opscore_roles.py reset | submit N | submit-many N | drain N      prints {"seconds": ...}
"""

import contextlib
import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse

import psycopg2

BINARY = pathlib.Path(__file__).resolve().parents[2] / "build" / "opscore"
SLOTS, BATCH, SCHEMA = 8, 1000, "peers_opscore"
TASK = {"task_type": "opscore.noop", "queue": "peers", "input_data": {"payload": "x" * 185}}
os.environ.update(OPSCORE_STORE_SCHEMA=SCHEMA, OPSCORE_LOG_LEVEL="warn")


def query(statement):
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone() if cursor.description else None


@contextlib.contextmanager
def role(*arguments):
    """A process of opscore with what it prints; ended in good order."""
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/log", "w+b") as log:
        process = subprocess.Popen(
            [BINARY, *arguments],
            cwd=folder,
            env={**os.environ, "OPSCORE_STORE_EXPORTS": folder},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

        def printed():
            words = pathlib.Path(folder, "log").read_text(encoding="utf-8")
            if process.poll() is not None:
                raise SystemExit(f"opscore {arguments[0]} ended:\n{words}")
            return words

        try:
            yield printed
        finally:
            process.terminate()
            process.wait()


def address(printed):
    while "http://" not in (words := printed()):
        time.sleep(0.02)
    return urllib.parse.urlsplit("http://" + words.split("http://")[1].split()[0]).netloc


def post(path, requests):
    """One connection, one request after the other; seconds from the first to the last answer."""
    with role("maintenance"), role("api", "--port", "0") as printed:
        connection = http.client.HTTPConnection(address(printed), timeout=60)
        connection.connect()
        began = time.monotonic()
        for body in requests:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"/api/v1/{path}", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 202:
                raise SystemExit(f"POST {path} answered {answer.status}: {text[:300]!r}")
        return time.monotonic() - began


def reset():
    query(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    subprocess.run([BINARY, "migrate"], stdout=subprocess.DEVNULL, check=True)


def submit(tasks):
    return post("tasks", [json.dumps(TASK)] * tasks)


def submit_many(tasks):
    whole, rest = divmod(tasks, BATCH)
    return post(
        "tasks/batch",
        [json.dumps([TASK] * BATCH)] * whole + [json.dumps([TASK] * rest)] * bool(rest),
    )


def drain(tasks):
    """From the start of the first task until the store has the end of the last."""
    with role("maintenance"), role("worker", "--slots", str(SLOTS)) as printed:
        connection = psycopg2.connect(os.environ["DATABASE_URL"])
        connection.autocommit = True
        with contextlib.closing(connection), connection.cursor() as cursor:
            completed = 0
            while completed < tasks:
                printed()  # raises when the worker has ended
                time.sleep(0.01)
                cursor.execute(f"SELECT coalesce(sum(completed), 0) FROM {SCHEMA}.counters")
                (completed,) = cursor.fetchone()
        ended = time.time()
    # Every task has its result, from its first attempt.
    right, first = query(
        f"SELECT count(*) FILTER (WHERE state = 4 AND attempt = 1 AND result IS NOT NULL),"
        f" min(started) FROM {SCHEMA}.outcomes"
    )
    if right != tasks:
        raise SystemExit(f"{right} of {tasks} tasks are as they should be")
    return ended - first / 1000


if __name__ == "__main__":
    verbs = {"reset": reset, "submit": submit, "submit-many": submit_many, "drain": drain}
    print(json.dumps({"seconds": verbs[sys.argv[1]](*map(int, sys.argv[2:]))}))
