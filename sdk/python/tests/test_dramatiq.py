"""OpscoreBroker under the real Dramatiq, each version in an environment of its own."""

import json
import os
import pathlib
import subprocess

import pytest
from harness.dramatiq import VERSIONS, Dramatiq, installed
from harness.rabbitmq import RabbitMq
from harness.services import provide

from conftest import SDK
from opscore import testing

CASES = pathlib.Path(__file__).parent / "with_dramatiq"
PYTEST = pathlib.Path(pytest.__file__).parents[1]  # not installed beside Dramatiq


@pytest.mark.parametrize("cases", ["broker_cases.py", "middleware_cases.py"])
@pytest.mark.parametrize("version", VERSIONS)
def test_with(version, cases):
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join((str(SDK), str(PYTEST)))}
    command = (installed(version), "-m", "pytest", "-q", "-p", "opscore.testing.plugin")
    done = subprocess.run(
        (*command, cases),
        cwd=CASES,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# Messages, as expressions of tests/harness/dramatiq_app.
MESSAGES = {
    "plain": "add.message(1, 2)",
    "kwargs": "add.message(1, y=41)",
    "own_id": "add.message(1, task_id='mine')",
    "no_id": "add.message(1, task_id='not an id')",
    "retries": "add.message_with_options(args=(1,), max_retries=2)",
    "unlimited": "add.message_with_options(args=(1,), max_retries=None)",
    "tried_before": "add.message_with_options(args=(1,), max_retries=5, retries=2)",
    "backoff": "add.message_with_options(args=(1,), min_backoff=100, max_backoff=5000)",
    "narrow_backoff": "add.message_with_options(args=(1,), min_backoff=5, max_backoff=5)",
    "short_backoff": "add.message_with_options(args=(1,), min_backoff=7)",
    "long_backoff": "add.message_with_options(args=(1,), max_backoff=10**12)",
    "time_limit": "add.message_with_options(args=(1,), time_limit=1500)",
    "no_time_limit": "add.message_with_options(args=(1,), time_limit=float('inf'))",
    "max_age": "add.message_with_options(args=(1,), max_age=3_600_000)",
    "priority": "add.message_with_options(args=(1,), broker_priority=7)",
    "high_priority": "add.message_with_options(args=(1,), broker_priority=255)",
    "lossy": r"add.message(float('nan'), rest=[1, {'x': float('-inf')}, '\ud800'])",
    "declared": "fail.message(1)",
    "declared_and_said": "fail.message_with_options(args=(1,), max_backoff=700)",
    "agent": "execute_agent_task_actor.message(task_id='a1', goal='6 * 7?', input_data={'c': 1})",
    "agent_by_place": "execute_agent_task_actor.message('a2', 'What is 6 * 7?', [1, 2])",
}
ACTORS = """
[actors.add]
command = ["cat"]
[actors.fail]
command = ["false"]
max_attempts = 2
timeout = "7s"
backoff = {min = "1ms", max = "3ms", factor = 3}
"""
SEND_BOTH = """
from opscore.dramatiq import OpscoreBroker
for name, message in {messages}:
    broker.enqueue(message)
    OpscoreBroker("{url}").enqueue(message)
    print(json.dumps([name, message.message_id]))
"""


@pytest.fixture
def both(services, tmp_path):
    """Two servers of the same configuration, one of which adopts, and a producer of both."""
    provide(services, "rabbitmq")
    rabbitmq = RabbitMq(services)
    python = Dramatiq(tmp_path / "python", rabbitmq.url)
    python.environment["PYTHONPATH"] += os.pathsep + str(SDK)
    adopting = {"RABBITMQ_URL": rabbitmq.url, "OPSCORE_ADOPT": "default"}
    try:
        with testing.server(config=ACTORS, environment=adopting) as adopter:
            with testing.server(config=ACTORS) as plain:
                yield adopter, plain, python
    finally:
        python.close()
        rabbitmq.close()


def said(task):
    """What a message decides of its task. The id of one that wants none is each broker's own."""
    metadata = dict(task.metadata)
    for of_http_only in ("dramatiq_options", "dramatiq_message_timestamp"):
        metadata.pop(of_http_only, None)
    names = ("task_type", "queue", "priority", "input_data", "max_attempts", "backoff", "timeout")
    return {**{name: getattr(task, name) for name in (*names, "deadline")}, "metadata": metadata}


def test_a_message_becomes_the_same_task_by_either_way(both):
    adopter, plain, python = both
    messages = ", ".join(f"({name!r}, {text})" for name, text in MESSAGES.items())
    lines = python.run(SEND_BOTH.format(messages=f"[{messages}]", url=plain.url))
    adopter.client.wait("a2", timeout=60)  # the last of the queue

    def found(server):
        return {
            task.metadata["dramatiq_message_id"]: server.client.wait(task.task_id, timeout=60)
            for task in server.client.iterate()
        }

    adopted, submitted = found(adopter), found(plain)
    assert len(lines) == len(MESSAGES)
    for name, message_id in lines:
        assert said(submitted[message_id]) == said(adopted[message_id]), name
        if name in ("own_id", "agent"):
            assert submitted[message_id].task_id == adopted[message_id].task_id
    assert json.dumps(submitted[lines[0][1]].input_data) == '{"args": [1, 2], "kwargs": {}}'
