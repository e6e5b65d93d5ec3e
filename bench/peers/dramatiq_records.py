"""Dramatiq on RabbitMQ with a row in PostgreSQL for each task, as applications keep one:

    dramatiq_records.py reset | submit N | drain N      prints {"seconds": ...}

The row is written before the message is sent, and updated when the task starts and when it ends.
"""

import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import dramatiq
import psycopg2
from dramatiq.brokers.rabbitmq import RabbitmqBroker

PROCESSES, THREADS = 2, 8
INPUT = json.dumps({"payload": "x" * 185})

dramatiq.set_broker(RabbitmqBroker(url=os.environ["RABBITMQ_URL"]))
threads = threading.local()


def query(statement, *values):
    """One statement and one commit, in one round trip, on this thread's connection."""
    if not hasattr(threads, "cursor"):
        connection = psycopg2.connect(os.environ["DATABASE_URL"])
        connection.autocommit = True
        threads.cursor = connection.cursor()
    threads.cursor.execute(statement, values)
    return threads.cursor.fetchone() if threads.cursor.description else None


@dramatiq.actor(queue_name="peers")
def run(task):
    query(
        "UPDATE peers_dramatiq.tasks SET status = 'RUNNING', started_at = clock_timestamp()"
        " WHERE id = %s RETURNING input",
        task,
    )
    query(
        "UPDATE peers_dramatiq.tasks SET status = 'COMPLETED', result = %s,"
        " ended_at = clock_timestamp() WHERE id = %s",
        '{"ok": true}',
        task,
    )


def reset():
    query("DROP SCHEMA IF EXISTS peers_dramatiq CASCADE")
    query("CREATE SCHEMA peers_dramatiq")
    query(
        "CREATE TABLE peers_dramatiq.tasks("
        "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, status text NOT NULL,"
        "input jsonb NOT NULL, result jsonb, created_at timestamptz NOT NULL DEFAULT now(),"
        "started_at timestamptz, ended_at timestamptz)"
    )
    run.broker.declare_queue("peers", ensure=True)
    run.broker.flush_all()


def submit(tasks):
    query("SELECT 1")  # connects
    began = time.monotonic()
    for _ in range(tasks):
        (task,) = query(
            "INSERT INTO peers_dramatiq.tasks(status, input) VALUES('PENDING', %s) RETURNING id",
            INPUT,
        )
        run.send(task)
    return time.monotonic() - began


def drain(tasks):
    """From the first row that says RUNNING to the last that says COMPLETED."""
    command = ["dramatiq", "dramatiq_records", "-p", PROCESSES, "-t", THREADS]
    worker = subprocess.Popen(
        [sys.executable, "-m", *map(str, command)],
        cwd=pathlib.Path(__file__).parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        done = "SELECT count(*) FROM peers_dramatiq.tasks WHERE status = 'COMPLETED'"
        while query(done) != (tasks,):
            if worker.poll() is not None:
                raise SystemExit(f"the worker of Dramatiq ended with {worker.returncode}")
            time.sleep(0.5)  # each look reads the whole table
    finally:
        worker.terminate()
        worker.wait()
    times = "SELECT extract(epoch FROM max(ended_at) - min(started_at)) FROM peers_dramatiq.tasks"
    return float(query(times)[0])


if __name__ == "__main__":
    verbs = {"reset": reset, "submit": submit, "drain": drain}
    print(json.dumps({"seconds": verbs[sys.argv[1]](*map(int, sys.argv[2:]))}))
