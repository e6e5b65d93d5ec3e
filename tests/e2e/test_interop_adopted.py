"""Dramatiq's features between real producers and opscore's own actors."""

import json
import sys

import pytest

from harness.dramatiq import VERSIONS, task_of
from harness.rabbitmq import DramatiqQueue

ACTORS = """
[actors.add]
command = ["{python}", "-c", "import json, sys; task = json.load(sys.stdin); \
print(json.dumps(sum(task['args']) + task['kwargs'].get('y', 0)))"]
output = "json"
[actors.fail]
command = ["false"]
[actors.slow]
command = ["sleep", "30"]
# Says where callbacks to them go; Python runs them.
[actors.collect]
kind = "dramatiq"
queue = "python"
"""
AT_ONCE = "min_backoff=1, max_backoff=1"
SENT = """
import time
def slow(*args):
    pass
slow = dramatiq.actor(slow)
now = lambda: int(time.time() * 1000)
def send(actor, *args, **options):
    return actor.send_with_options(args=args, **options)
def old(message):
    return broker.enqueue(message.copy(message_timestamp=now() - 60_000))
once = dict(min_backoff=1, max_backoff=1)
twice = add.message(2, 2)
broker.enqueue(twice)
sent = dict(
    arguments=add.send(1, y=41),
    numbers=echo.send(10**30, 1e-7, -0.0, float("nan"), "\\ud800", "\\u00e9\\U0001f600"),
    twice=broker.enqueue(twice),
    delay=send(add, 3, 4, delay=300),
    no_delay=send(add, 3, 5, delay=0),
    custom=send(add, 1, custom={"of": "mine"}),
    max_retries=send(fail, 1, max_retries=2, **once),
    none_left=send(fail, 1, max_retries=3, retries=2, **once),
    backoff=send(fail, 1, min_backoff=3_600_000, max_backoff=7_200_000, max_retries=None),
    time_limit=send(slow, max_retries=0, time_limit=300),
    max_age=old(add.message_with_options(args=(1,), max_age=1000)),
    priority=send(add, 1, broker_priority=7),
    notify_shutdown=send(add, 1, notify_shutdown=True),
)
print(json.dumps({name: message.asdict() for name, message in sent.items()}))
"""


JITTER = "Dramatiq 2's jitter for senders of 1.17, too: once to twice the wait, not half to all"


def interop(feature, **how):
    return pytest.mark.interop(feature, direction="adopted", **how)


@pytest.fixture
def adopting(new_server, rabbitmq):
    server = new_server(environment={"RABBITMQ_URL": rabbitmq.url, "OPSCORE_ADOPT": "default"})
    server.configure(ACTORS.replace("{python}", sys.executable))
    return server.start()


@interop("`args`, `kwargs`")
@interop(
    "numbers and texts that are not JSON",
    outcome="differs",
    note="the message is kept verbatim, but actors and the API see `null` for NaN and infinities, "
    "an escape for a lone surrogate; `metadata.dramatiq_lossy` says where",
)
@interop("the same `message_id` twice", outcome="differs", note="it runs once, not twice")
@interop("`delay`, `eta`")
@interop("options that nobody knows", note="no actor sees them; callbacks have them")
@interop("`max_retries`")
@interop("`retries` that were made before")
@interop("`min_backoff`, `max_backoff`", differs_in=["1.17.1"], note=JITTER)
@interop("`time_limit`")
@interop("`max_age`")
@interop("`broker_priority`", outcome="differs", note="0 to 100; what is beyond is 0 or 100")
@interop(
    "`notify_shutdown`", outcome="differs", note="every actor is told of a shutdown, wanted or not"
)
@pytest.mark.parametrize("version", VERSIONS)
def test_options(adopting, new_python, rabbitmq, version):
    rest = adopting.rest
    (sent,) = new_python(version).run(SENT)
    ended = {name: task_of(rest, sent[name]) for name in sent if name != "backoff"}
    results = {name: task["result"] for name, task in ended.items() if task["result"] is not None}
    numbers = ended["numbers"]
    assert results.pop("numbers")["args"][1:] == [1e-7, -0.0, None, "\\ud800", "\u00e9\U0001f600"]
    assert numbers["metadata"]["dramatiq_lossy"] == ["args[3]"]
    assert results == {
        "arguments": 42, "twice": 4, "delay": 7, "no_delay": 8, "custom": 1, "priority": 1,
        "notify_shutdown": 1,
    }  # fmt: skip
    assert len(rest.get("tasks?limit=100")["tasks"]) == len(sent)
    for name, attempts in (("max_retries", 3), ("none_left", 2)):
        assert (ended[name]["status"], ended[name]["attempts"]) == ("failed", attempts), name
    assert ended["time_limit"]["error"]["kind"] == "timeout"
    assert ended["max_age"]["error"]["kind"] == "deadline"
    assert ended["priority"]["priority"] == 7
    (waiting,) = rest.get("tasks?status=scheduled")["tasks"]
    waiting = rest.task(waiting["task_id"])
    assert waiting["metadata"]["dramatiq_message_id"] == sent["backoff"]["message_id"]
    assert (waiting["attempts"], waiting["max_attempts"]) == (1, 0)
    assert waiting["backoff"]["max"] == "2h"
    dead = DramatiqQueue(rabbitmq, "default.XQ").wait_messages(4)
    assert {json.loads(each["payload"])["message_id"] for each in dead} == {
        sent[name]["message_id"] for name in ("max_retries", "none_left", "time_limit", "max_age")
    }


@interop("`on_success`")
@interop("`on_failure`")
@interop("`on_retry_exhausted`")
@interop("`retries`, `traceback`, `requeue_timestamp` and unknown options in callbacks")
@interop("pipelines: `pipe_target`, `pipe_ignore`, stages that alternate")
@interop("groups without callbacks")
@pytest.mark.parametrize("version", VERSIONS)
def test_what_follows(adopting, new_python, version):
    python = new_python(version)
    python.worker("python")
    python.run(
        "add.send_with_options(args=(1, 2), on_success=collect)\n"
        "fail.send_with_options(args=(1,), max_retries=1, on_failure=collect, custom='mine',"
        f"on_retry_exhausted='collect', {AT_ONCE})\n"
        "(add.message(1, 2) | double.message() | add.message(10) | double.message()"
        " | collect.message('piped')).run()\n"
        "(add.message(1, 2) | collect.message_with_options(args=('ignored',), pipe_ignore=True)"
        ").run()\n"
        "dramatiq.group([double.message(100), add.message(1)]).run()\n"
    )
    told = [each["args"] for each in python.wait_records("collect", 6)]
    follow_ups = sorted(args for args in told if isinstance(args[0], str))
    assert follow_ups == [["ignored"], ["piped", 32]]
    called_back = [args for args in told if isinstance(args[0], dict)]
    of_add = [args for args in called_back if args[0]["actor_name"] == "add"]
    of_fail = [args for args in called_back if args[0]["actor_name"] == "fail"]
    assert [args[1] for args in of_add] == [3]
    failures = [args for args in of_fail if "message" in args[1]]
    assert sorted(args[0]["options"]["retries"] for args in failures) == [1, 2]
    for args in failures:
        assert args[0]["options"]["traceback"] and args[0]["options"]["requeue_timestamp"]
        assert args[0]["options"]["custom"] == "mine"
    (exhausted,) = [args[1] for args in of_fail if "message" not in args[1]]
    assert exhausted == {"retries": 1, "max_retries": 1}
    wanted = {3, 16, 100}
    assert {each["x"] for each in python.records("double")} == wanted


@interop("`store_results`, without `results.url`", outcome="refused", note="`.XQ`")
@interop("groups with callbacks, without `results.url`", outcome="refused", note="`.XQ`")
@pytest.mark.parametrize("version", VERSIONS)
def test_what_needs_a_backend(adopting, new_python, rabbitmq, version):
    new_python(version).run(
        "add.send_with_options(args=(1,), store_results=True)\n"
        "add.send_with_options(args=(1,), group_completion_uuid='1',"
        " group_completion_callbacks=[add.message(2).asdict()])"
    )
    dead = DramatiqQueue(rabbitmq, "default.XQ").wait_messages(2)
    reasons = sorted(each["properties"]["headers"]["x-opscore-reason"] for each in dead)
    assert "store_results" in reasons[0] and "completion callbacks" in reasons[1]
    assert adopting.rest.get("tasks")["tasks"] == []
