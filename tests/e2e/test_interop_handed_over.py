"""Dramatiq's features in tasks that opscore hands to Python's own workers."""

import datetime
import json

import pytest

from harness.dramatiq import VERSIONS
from harness.dramatiq_worker import DramatiqWorker

ACTORS = """
[actors]
nap.kind = "dramatiq"
again.kind = "dramatiq"
thrower.kind = "dramatiq"
while_told.kind = "dramatiq"
[actors.seen]
kind = "dramatiq"
max_attempts = 4
timeout = "90s"
backoff = {min = "1s", max = "2s"}
options = {notify_shutdown = true, custom = "mine"}
[actors.fail]
kind = "dramatiq"
max_attempts = 2
backoff = {min = "1ms", max = "1ms"}
[actors.slow]
kind = "dramatiq"
max_attempts = 1
timeout = "500ms"
[actors.hello]
kind = "dramatiq"
queue = "greetings"
options = {on_success = "told"}
"""
APP = '''
import asyncio, json, os, threading
import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.errors import RateLimitExceeded, Retry
from dramatiq.middleware import AsyncIO, CurrentMessage
from opscore.dramatiq import OpscoreMiddleware

broker = RabbitmqBroker(url=os.environ["RABBITMQ_URL"])
for each in (CurrentMessage(), AsyncIO(), OpscoreMiddleware()):
    broker.add_middleware(each)
dramatiq.set_broker(broker)

@dramatiq.actor
def seen(*args, **kwargs):
    message = CurrentMessage.get_current_message()
    return {"args": args, "kwargs": kwargs, "options": message.options, "id": message.message_id}

@dramatiq.actor
async def nap(seconds):
    await asyncio.sleep(seconds)
    return "slept"

@dramatiq.actor
def fail():
    raise ValueError("boom")

@dramatiq.actor(throws=(KeyError,))
def thrower():
    raise KeyError("expected")

@dramatiq.actor(retry_when=lambda retries, error: retries < 1, min_backoff=1, max_backoff=1)
def while_told():
    raise RateLimitExceeded("busy")

@dramatiq.actor(max_retries=1)
def again():
    if not CurrentMessage.get_current_message().options.get("retries"):
        raise Retry(delay=30)
    return "again"

@dramatiq.actor
def slow():
    pause = threading.Event().wait
    while True: pause(0.01)

@dramatiq.actor(queue_name="greetings")
def hello(name):
    return f"Hello, {name}!"

@dramatiq.actor(queue_name="greetings")
def told(message, result):
    with open("told.json", "w") as file:
        json.dump([message["actor_name"], result], file)
'''


def interop(feature, **how):
    return pytest.mark.interop(feature, direction="handed over", **how)


@interop("`args`, `kwargs`")
@interop("`async` actors (`AsyncIO`)")
@interop("`message_id`", outcome="differs", note="it is the task's id")
@interop("`eta`", note="`delay`, `run_at` of the task")
@interop("`max_retries`", note="`max_attempts` of the task or in `opscore.toml`")
@interop("`min_backoff`, `max_backoff`", note="`backoff`")
@interop("`time_limit`", note="`timeout`")
@interop("`max_age`", note="`deadline`")
@interop("`broker_priority`", outcome="differs", note="`priority`, which is 1 to 100")
@interop("`notify_shutdown`, options that nobody knows", note="`options` in `opscore.toml`")
@interop("`on_success`", note="`options` in `opscore.toml`")
@interop("`throws`")
@interop("`retry_when`, `RateLimitExceeded`")
@interop("`raise Retry(delay=...)`")
@interop("results", note="with `OpscoreMiddleware`; no backend is needed")
@pytest.mark.parametrize("version", VERSIONS)
def test_features(new_server, rabbitmq, tmp_path, version):
    server = new_server(environment={"RABBITMQ_URL": rabbitmq.url})
    server.configure(ACTORS)
    rest = server.start().rest
    where = {"RABBITMQ_URL": rabbitmq.url, "OPSCORE_URL": f"http://127.0.0.1:{server.port}"}
    worker = DramatiqWorker(tmp_path / "worker", APP, where, version)
    try:
        worker.start()
        run_them(rest, worker)
    finally:
        worker.clean_up()


def run_them(rest, worker):
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    submitted = {
        name: rest.submit(name, *given)["task_id"]
        for name, *given in (
            ("nap", {"seconds": 0.01}), ("again",), ("thrower",), ("while_told",), ("fail",),
            ("slow",), ("hello", ["Ada"]),
        )
    }  # fmt: skip
    options = {"priority": 7, "delay": "1s", "deadline": soon.isoformat()}
    submitted["seen"] = rest.submit("seen", {"args": [1], "kwargs": {"y": 2}}, **options)["task_id"]
    tasks = {name: rest.wait(task_id, timeout=60) for name, task_id in submitted.items()}
    result = tasks["seen"]["result"]
    assert (result["args"], result["kwargs"]) == ([1], {"y": 2})
    assert result["id"] == submitted["seen"]
    told = result["options"]
    assert 3_590_000 < told.pop("max_age") <= 3_601_000
    assert told == {
        "notify_shutdown": True, "custom": "mine", "max_retries": 3, "time_limit": 90_000,
        "min_backoff": 1000, "max_backoff": 2000, "broker_priority": 7,
    }  # fmt: skip
    assert tasks["nap"]["result"] == "slept"
    assert (tasks["again"]["result"], tasks["again"]["attempts"]) == ("again", 2)
    assert (tasks["thrower"]["status"], tasks["thrower"]["attempts"]) == ("failed", 1)
    assert (tasks["while_told"]["status"], tasks["while_told"]["attempts"]) == ("failed", 2)
    assert (tasks["fail"]["attempts"], tasks["fail"]["error"]["kind"]) == (2, "ValueError")
    assert tasks["slow"]["error"]["kind"] == "TimeLimitExceeded"
    assert tasks["hello"]["result"] == "Hello, Ada!"
    assert worker.stop() == 0
    assert json.loads((worker.folder / "told.json").read_text()) == ["hello", "Hello, Ada!"]
