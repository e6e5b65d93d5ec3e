"""What stands for an application that uses Dramatiq: its broker and its actors.

Runs on the real Dramatiq, in an environment of its own; see dramatiq.py. What its actors are given
goes to the file RECORD, one JSON document a line.
"""

import json
import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

broker = RabbitmqBroker(url=os.environ["RABBITMQ_URL"])
dramatiq.set_broker(broker)

if os.environ.get("REDIS_URL"):
    from dramatiq.middleware import GroupCallbacks
    from dramatiq.rate_limits.backends import RedisBackend as Barriers
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend as ResultsBackend

    broker.add_middleware(Results(backend=ResultsBackend(url=os.environ["REDIS_URL"])))
    barriers = Barriers(url=os.environ["REDIS_URL"])
    broker.add_middleware(GroupCallbacks(barriers))


def record(name, **what):
    with open(os.environ["RECORD"], "a", encoding="utf-8") as file:
        file.write(json.dumps({"actor": name, **what}) + "\n")


# Those that opscore runs in the tests: Python knows how to send them.


@dramatiq.actor
def add(x, y=0, **rest):
    raise AssertionError("opscore runs this")


@dramatiq.actor
def fail(*args, **kwargs):
    raise AssertionError("opscore runs this")


@dramatiq.actor
def wait(*args, **kwargs):
    raise AssertionError("opscore runs this")


@dramatiq.actor(actor_name="opscore.echo")
def echo(*args, **kwargs):
    raise AssertionError("opscore runs this")


@dramatiq.actor
def execute_agent_task_actor(task_id, goal, input_data):
    raise AssertionError("opscore runs this")


# Those that Python runs.


@dramatiq.actor(queue_name="python")
def double(x):
    record("double", x=x)
    return 2 * x


@dramatiq.actor(queue_name="python")
def collect(*args, **kwargs):
    record("collect", args=args, kwargs=kwargs)


@dramatiq.actor
def theirs(x):
    record("theirs", x=x)
