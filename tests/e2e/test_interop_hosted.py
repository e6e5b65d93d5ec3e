"""Dramatiq's features between real producers and the application that `opscore dramatiq` hosts."""

import json

import pytest

from harness.dramatiq import VERSIONS, task_of
from harness.rabbitmq import DramatiqQueue
from harness.waiting import wait_for

APP = '''
import asyncio, json, os, threading
import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.errors import RateLimitExceeded, Retry
from dramatiq.middleware import AsyncIO, CurrentMessage, Middleware, TimeLimitExceeded

pause = threading.Event().wait

def record(name, **what):
    with open(os.environ["RECORD"], "a", encoding="utf-8") as file:
        file.write(json.dumps({"actor": name, **what}) + "\\n")

class Trace(Middleware):
    """As those are written that carry something from sender to actor."""
    actor_options = {"audited"}
    def before_enqueue(self, broker, message, delay):
        message.options.setdefault("trace", "from the sender")
    def before_process_message(self, broker, message):
        if broker.get_actor(message.actor_name).options.get("audited"):
            record("before", options=message.options, timestamp=message.message_timestamp)

broker = RabbitmqBroker(url=os.environ["RABBITMQ_URL"])
for each in (CurrentMessage(), AsyncIO(), Trace()):
    broker.add_middleware(each)
dramatiq.set_broker(broker)

@dramatiq.actor
def add(x, y=0):
    return x + y

@dramatiq.actor(priority=10)
def twice(value):
    return value

@dramatiq.actor
async def nap(seconds):
    await asyncio.sleep(seconds)
    return "slept"

class Greeter(dramatiq.GenericActor):
    class Meta:
        queue_name = "greetings"
    def perform(self, name):
        return f"Hello, {name}!"

@dramatiq.actor(audited=True)
def current(**kwargs):
    message = CurrentMessage.get_current_message()
    return {"options": message.options, "id": message.message_id, "ms": message.message_timestamp}

@dramatiq.actor(min_backoff=1, max_backoff=1, max_retries=2)
def fail(*args, **kwargs):
    raise ValueError("boom")

@dramatiq.actor(max_retries=5, throws=(KeyError,))
def thrower():
    raise KeyError("expected")

@dramatiq.actor(retry_when=lambda retries, error: retries < 2, min_backoff=1, max_backoff=1)
def while_told():
    raise RateLimitExceeded("busy")

@dramatiq.actor(max_retries=1)
def again():
    if not CurrentMessage.get_current_message().options.get("retries"):
        raise Retry(delay=30)
    return sorted(CurrentMessage.get_current_message().options)

@dramatiq.actor(time_limit=200, max_retries=0)
def slow():
    try:
        while True: pause(0.01)
    except TimeLimitExceeded:
        record("slow")
        raise

@dramatiq.actor(max_age=1000)
def aging():
    record("aging")

@dramatiq.actor
def told(*args):
    record("told", args=args)

@dramatiq.actor(on_success="told")
def tells(x):
    return x

@dramatiq.actor(on_failure="told", max_retries=0)
def tells_failure():
    raise ValueError("boom")

@dramatiq.actor(on_retry_exhausted="told", max_retries=0)
def tells_exhausted():
    raise ValueError("boom")
'''
AT_ONCE = "min_backoff=1, max_backoff=1"
# What is sent, by the feature that it is about.
SENT = """
import time
def old(message, **ages):
    return broker.enqueue(message.copy(message_timestamp=int(time.time() * 1000) - 60_000))
sent = dict(
    arguments=add.send(1, y=41),
    asynchronous=nap.send(0.01),
    generic=Greeter.send("Ada"),
    delay=add.send_with_options(args=(3, 4), delay=300),
    current=current.send_with_options(kwargs={"n": 1}, custom={"of": "mine"}),
    priority_of_actor=twice.send(1),
    retries=fail.send(1),
    max_retries=fail.send_with_options(args=(1,), max_retries=1),
    none_left=fail.send_with_options(args=(1,), max_retries=3, retries=2),
    throws=thrower.send(),
    retry_when=while_told.send(),
    retry=again.send(),
    time_limit=slow.send(),
    time_limit_of_message=slow.send_with_options(time_limit=400),
    max_age=old(add.message_with_options(args=(1,), max_age=1000)),
    max_age_of_actor=old(aging.message()),
    priority=add.send_with_options(args=(1,), broker_priority=7),
)
print(json.dumps({name: message.asdict() for name, message in sent.items()}))
"""


@pytest.fixture
def hosted(new_server, new_python, version, rabbitmq):
    """`opscore dramatiq` with the application, and a producer that has it, too."""
    python = new_python(version)
    server = new_server(environment={**python.environment, "RABBITMQ_URL": rabbitmq.url})
    (server.folder / "app.py").write_text(APP)
    python.environment["PYTHONPATH"] = str(server.folder)
    server.environment["VIRTUAL_ENV"] = str(python.python.parents[1])
    del server.environment["PYTHONPATH"]
    server.launch("app:broker", "-p", "1", "-t", "4", role="dramatiq")
    server.wait_ready()
    return server, python


def interop(feature, **how):
    return pytest.mark.interop(feature, direction="hosted", **how)


@interop("`args`, `kwargs`")
@interop("`async` actors (`AsyncIO`)")
@interop("`GenericActor`")
@interop("`delay`, `eta`")
@interop("`CurrentMessage`; options that nobody knows; `message_id`, `message_timestamp`")
@interop("middleware: `before_process_message` sees the message's options")
@interop("`max_retries` of actor and message, `min_backoff`, `max_backoff`")
@interop("`retries` that were made before")
@interop("`throws`")
@interop("`retry_when`, `RateLimitExceeded`")
@interop("`raise Retry(delay=...)`")
@interop(
    "`traceback`, `requeue_timestamp` of a retried message",
    outcome="differs",
    note="the actor does not see them; `opscore tasks show` does",
)
@interop("`time_limit` of actor and message")
@interop("`max_age` of actor and message")
@interop("`broker_priority`", outcome="differs", note="0 to 100; what is beyond is 0 or 100")
@interop(
    "`priority` of an actor",
    outcome="differs",
    note="without effect: a queue goes by time and `broker_priority`",
)
@pytest.mark.parametrize("version", VERSIONS)
def test_options(hosted, rabbitmq, version):
    server, python = hosted
    (sent,) = python.run(SENT)
    tasks = {name: task_of(server.rest, message) for name, message in sent.items()}
    results = {name: task["result"] for name, task in tasks.items() if task["result"] is not None}
    assert (results["arguments"], results["asynchronous"]) == (42, "slept")
    assert (results["generic"], results["delay"]) == ("Hello, Ada!", 7)
    assert tasks["generic"]["queue"] == "greetings"
    seen, message = results["current"], sent["current"]
    assert (seen["id"], seen["ms"]) == (message["message_id"], message["message_timestamp"])
    assert seen["options"] == {"custom": {"of": "mine"}, "trace": "from the sender"}
    (before,) = python.records("before")
    assert before["options"]["trace"] == "from the sender"

    def ended(name):
        return tasks[name]["status"], tasks[name]["attempts"]

    assert [ended(name) for name in ("retries", "max_retries", "none_left")] == [
        ("failed", 3), ("failed", 2), ("failed", 2)
    ]  # fmt: skip
    assert ended("throws") == ("failed", 1)
    assert ended("retry_when") == ("failed", 3)
    assert (ended("retry"), results["retry"]) == (("completed", 2), ["retries", "trace"])
    assert tasks["time_limit"]["error"]["kind"] == "timeout"
    assert tasks["time_limit_of_message"]["timeout"] == "400ms"
    assert len(python.records("slow")) == 2
    assert tasks["max_age"]["error"]["kind"] == "deadline"
    assert tasks["max_age_of_actor"]["error"]["kind"] == "rejected"
    assert not python.records("aging")
    assert (tasks["priority"]["priority"], tasks["priority_of_actor"]["priority"]) == (7, 0)
    dead = DramatiqQueue(rabbitmq, "default.XQ").wait_messages(9)
    gone = {json.loads(each["payload"])["message_id"] for each in dead}
    failed = {name for name, task in tasks.items() if task["status"] == "failed"}
    assert gone == {sent[name]["message_id"] for name in failed}


@interop("`on_success`, `on_failure`, `on_retry_exhausted` of a message")
@interop("`on_success`, `on_failure`, `on_retry_exhausted` of an actor")
@interop("pipelines: `pipe_target`, `pipe_ignore`")
@interop("groups without callbacks")
@pytest.mark.parametrize("version", VERSIONS)
def test_what_follows(hosted, version):
    server, python = hosted
    none = f"max_retries=0, {AT_ONCE}"
    python.run(
        "add.send_with_options(args=(1, 2), on_success=told)\n"
        f"fail.send_with_options(args=(1,), on_failure=told, {none})\n"
        f"fail.send_with_options(args=(2,), on_retry_exhausted='told', {none})\n"
        "tells.send(5)\ntells_failure.send()\ntells_exhausted.send()\n"
        "(add.message(1, 2) | twice.message() | "
        "told.message_with_options(args=('last',), pipe_ignore=True)).run()\n"
        "(add.message(1, 2) | twice.message() | told.message()).run()\n"
        "dramatiq.group([told.message(each) for each in ('g1', 'g2')]).run()\n"
    )
    told = [each["args"] for each in python.wait_records("told", 10)]

    def about(actor):
        found = [args for args in told if isinstance(args[0], dict)]
        return sorted(
            (json.dumps(args[1]) for args in found if args[0]["actor_name"] == actor)
        )

    assert about("add") == ["3"] and about("tells") == ["5"]
    failure = json.dumps({"type": "ValueError", "message": "boom"})
    exhausted = json.dumps({"retries": 0, "max_retries": 0})
    assert about("fail") == sorted([failure, exhausted])
    assert about("tells_failure") == [failure]
    assert about("tells_exhausted") == [exhausted]
    alone = sorted((args[0] for args in told if len(args) == 1), key=str)
    assert alone == [3, "g1", "g2", "last"]
