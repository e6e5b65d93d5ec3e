"""Dramatiq's features between producers with an OpscoreBroker and opscore."""

import os
import sys

import pytest

from harness.dramatiq import VERSIONS, Dramatiq
from harness.server import ROOT
from harness.services import provide
from harness.waiting import wait_for

ACTORS = """
[actors.add]
command = ["{python}", "-c", "import json, sys; task = json.load(sys.stdin); \
print(json.dumps(sum(task['args']) + task['kwargs'].get('y', 0)))"]
output = "json"
[actors.fail]
command = ["false"]
[actors.slow]
command = ["sleep", "30"]
"""
SENT = """
from opscore.dramatiq import OpscoreBroker
broker = OpscoreBroker()
dramatiq.set_broker(broker)
for each in (add, fail, echo, theirs):
    each.broker = broker
def slow(*args):
    pass
slow = dramatiq.actor(slow)
once = dict(min_backoff=1, max_backoff=1)
def send(actor, *args, **options):
    return actor.send_with_options(args=args, **options)
def refused(send):
    try:
        send()
    except Exception as error:
        return str(error)
sent = dict(
    arguments=add.send(1, y=41),
    delay=send(add, 3, 4, delay=300),
    custom=send(add, 1, custom={"of": "mine"}),
    lossy=echo.send(float("nan"), 10**30),
    max_retries=send(fail, 1, max_retries=2, **once),
    none_left=send(fail, 1, max_retries=3, retries=2, **once),
    backoff=send(fail, 1, min_backoff=3_600_000, max_backoff=7_200_000),
    time_limit=send(slow, max_retries=0, time_limit=300),
    max_age=send(add, 1, max_age=60_000),
    priority=send(add, 1, broker_priority=7),
    callback=send(add, 1, 2, on_success="opscore.echo"),
    told=send(fail, 1, max_retries=1, on_failure="opscore.echo",
              on_retry_exhausted="opscore.echo", **once),
)
group = dramatiq.group([add.message(1), add.message(2)], broker=broker).run()
with_callback = dramatiq.group([add.message(1)], broker=broker)
with_callback.add_completion_callback(add.message(1))
pipe = dramatiq.pipeline([add.message(1), add.message(2)], broker=broker).run()
print(json.dumps({
    "sent": {name: message.message_id for name, message in sent.items()},
    "result": sent["arguments"].get_result(block=True),
    "group": sorted(group.get_results(block=True)),
    "pipeline": pipe.get_result(block=True),
    "refused": {
        "group": refused(with_callback.run),
        "unknown": refused(lambda: theirs.send(1)),
    },
}))
"""
WITH_CALLBACK = """
from dramatiq.middleware import GroupCallbacks
from opscore.dramatiq import OpscoreBroker
broker = OpscoreBroker()
broker.add_middleware(GroupCallbacks(barriers))
dramatiq.set_broker(broker)
for each in (add, echo):
    each.broker = broker
group = dramatiq.group([add.message(1), add.message(2)], broker=broker)
group.add_completion_callback(echo.message("done"))
try:
    group.run()
except Exception as error:
    print(json.dumps(str(error)))
"""
JITTER = "Dramatiq 2's jitter for senders of 1.17, too: once to twice the wait, not half to all"


def interop(feature, **how):
    return pytest.mark.interop(feature, direction="over HTTP", **how)


def told_to_echo(rest):
    """The arguments of the callbacks that have become tasks."""
    listed = rest.get("tasks?task_type=opscore.echo&limit=100")["tasks"]
    told = [rest.task(each["task_id"])["input_data"]["args"] for each in listed]
    return [args for args in told if isinstance(args[0], dict)]


def new_sender(server, folder, version, redis=""):
    python = Dramatiq(folder, "amqp://localhost", version, redis)
    python.environment["PYTHONPATH"] += os.pathsep + str(ROOT / "sdk/python")
    python.environment["OPSCORE_URL"] = f"http://127.0.0.1:{server.port}"
    return python


@interop("`args`, `kwargs`")
@interop(
    "numbers and texts that are not JSON",
    outcome="differs",
    note="`null` for NaN and infinities, an escape for a lone surrogate; `metadata.dramatiq_lossy` "
    "says where",
)
@interop("`delay`, `eta`")
@interop("options that nobody knows", note="they are in `metadata.dramatiq_options`")
@interop("`max_retries`")
@interop("`retries` that were made before")
@interop("`min_backoff`, `max_backoff`", differs_in=["1.17.1"], note=JITTER)
@interop("`time_limit`")
@interop("`max_age`")
@interop("`broker_priority`", outcome="differs", note="0 to 100; what is beyond is 0 or 100")
@interop("`message.get_result()`", note="no results backend is needed")
@interop("groups, their results")
@interop("`on_success`, `on_failure`, `on_retry_exhausted`", note="no broker is needed")
@interop("pipelines", note="no broker is needed")
@interop("an actor that nobody runs", outcome="refused", note="the sender is told")
@pytest.mark.parametrize("version", VERSIONS)
def test_features(new_server, tmp_path, version):
    server = new_server()
    server.configure(ACTORS.replace("{python}", sys.executable))
    rest = server.start().rest
    (said,) = new_sender(server, tmp_path / "python", version).run(SENT)
    tasks = {name: rest.wait(id) for name, id in said["sent"].items() if name != "backoff"}
    results = {name: task["result"] for name, task in tasks.items() if task["result"] is not None}
    assert (said["result"], said["group"]) == (42, [1, 2])
    assert (results["arguments"], results["delay"], results["custom"]) == (42, 7, 1)
    assert tasks["custom"]["metadata"]["dramatiq_options"] == {"custom": {"of": "mine"}}
    assert results["lossy"]["args"][0] is None
    assert tasks["lossy"]["metadata"]["dramatiq_lossy"] == ["args[0]"]
    assert [tasks[name]["attempts"] for name in ("max_retries", "none_left")] == [3, 2]
    assert said["pipeline"] == 3
    told = wait_for(
        lambda: len(found := told_to_echo(rest)) == 4 and found, lambda: told_to_echo(rest), 30
    )
    of_add = [args for args in told if args[0]["actor_name"] == "add"]
    of_fail = [args[1] for args in told if args[0]["actor_name"] == "fail"]
    assert [args[1] for args in of_add] == [3]
    assert of_fail.count({"retries": 1, "max_retries": 1}) == 1
    waiting = rest.wait(said["sent"]["backoff"], "scheduled")
    assert waiting["backoff"]["max"] == "2h"
    assert tasks["time_limit"]["error"]["kind"] == "timeout"
    assert tasks["max_age"]["deadline"]
    assert tasks["priority"]["priority"] == 7
    refused = said["refused"]
    assert "GroupCallbacks" in refused["group"]
    assert "'theirs'" in refused["unknown"]


@interop("groups with callbacks", note="`GroupCallbacks` on the Redis of `results.url`")
@interop(
    "groups with callbacks, without `results.url`", outcome="refused", note="the sender is told"
)
@pytest.mark.parametrize("version", VERSIONS)
def test_groups_with_callbacks(new_server, services, tmp_path, version):
    provide(services, "redis")
    redis = services.env()["REDIS_URL"]
    for url, name in ((redis, "with"), ("", "without")):
        server = new_server(name, environment={"OPSCORE_RESULTS_URL": url})
        server.configure(ACTORS.replace("{python}", sys.executable))
        server.start()
        said = new_sender(server, tmp_path / name, version, redis).run(WITH_CALLBACK)
        if not url:
            assert len(said) == 1 and "results.url" in said[0]
            continue
        assert said == []
        wait_for(
            lambda server=server: any(
                task["task_type"] == "opscore.echo" for task in server.rest.get("tasks")["tasks"]
            ),
            "the callback of the group is a task",
            30,
        )
