"""Python produces with the real Dramatiq, opscore executes."""

import json
import re
import signal
import sys
import uuid

import pytest

from harness.dramatiq import VERSIONS, task_of
from harness.rabbitmq import DramatiqQueue
from harness.services import provide
from harness.waiting import wait_for

PROGRAM = f"""#!{sys.executable}
import json, sys
task = json.load(sys.stdin)
"""
ADD = PROGRAM + "json.dump(sum(task['args']) + task['kwargs'].get('y', 0), sys.stdout)\n"
FAIL = PROGRAM + "sys.exit('boom')\n"
WAIT = """#!/bin/sh
until test -e {folder}/go; do sleep 0.05; done
echo null
"""
ACTORS = """
[actors.add]
kind = "exec"
command = ["{folder}/add.py"]
output = "json"
[actors.fail]
kind = "exec"
command = ["{folder}/fail.py"]
[actors.wait]
kind = "exec"
command = ["{folder}/wait.sh"]
output = "json"
# Says where callbacks to it go; Python runs it.
[actors.collect]
kind = "exec"
command = ["false"]
queue = "python"
"""
AT_ONCE = "min_backoff=1, max_backoff=1"


def interop(feature, **how):
    return pytest.mark.interop(feature, direction="adopted", **how)


def write_programs(folder):
    waiting = WAIT.format(folder=folder)
    for name, text in (("add.py", ADD), ("fail.py", FAIL), ("wait.sh", waiting)):
        program = folder / name
        program.write_text(text)
        program.chmod(0o755)
    return ACTORS.format(folder=folder)


@pytest.fixture
def redis(services):
    provide(services, "redis")
    return services.env()["REDIS_URL"]


@pytest.fixture
def new_up(new_server, rabbitmq, tmp_path):
    """Makes `opscore up` on SQLite that adopts `default`."""

    def make(**environment):
        server = new_server(
            environment={
                "RABBITMQ_URL": rabbitmq.url,
                "OPSCORE_ADOPT": "default",
                "AGENTKIT_LLM_PROVIDER": "scripted",
                **environment,
            }
        )
        server.configure(write_programs(tmp_path))
        return server.start()

    return make


@pytest.fixture
def up(new_up):
    return new_up()


@pytest.fixture
def up_with_results(new_up, redis):
    return new_up(REDIS_URL=redis, OPSCORE_RESULTS_ACTORS="opscore.echo")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_python_sends_runs_here(up, new_python, version):
    python = new_python(version)
    plain = python.send("add.send(1, 2)")
    named = python.send("add.send_with_options(args=(1,), kwargs={'y': 41, 'task_id': 'mine'})")
    later = python.send("add.send_with_options(args=(3, 4), delay=1500)")
    assert task_of(up.rest, plain)["result"] == 3
    assert up.rest.wait("mine")["result"] == 42
    assert task_of(up.rest, named)["task_id"] == "mine"
    delayed = task_of(up.rest, later)
    assert delayed["result"] == 7
    assert delayed["queue"] == "default"


def test_it_is_said_at_start(up):
    assert "adopts  default: messages of Dramatiq" in up.output()


def test_options_of_the_message_hold(up, python):
    message = python.send(
        f"fail.send_with_options(args=(1,), max_retries=2, {AT_ONCE}, broker_priority=7)"
    )
    task = task_of(up.rest, message)
    assert (task["status"], task["attempts"], task["priority"]) == ("failed", 3, 7)


def test_agent_tasks(up, python):
    python.send(
        "execute_agent_task_actor.send("
        "task_id='agent-1', goal='What is 6 * 7?', input_data={'customer': 'x'})"
    )
    wait_for(lambda: up.rest.send("GET", "tasks/agent-1").status == 200, "agent-1 is there", 30)
    task = up.rest.wait("agent-1")
    assert task["task_type"] == "agent_task"
    assert task["status"] == "completed"
    assert "42" in json.dumps(task["result"])


def test_a_taken_id_loses_nothing(up, python):
    up.rest.expect(
        202, "POST", "tasks/", {"task_type": "opscore.noop", "task_id": "taken", "input_data": {}}
    )
    message = python.send("add.send_with_options(args=(5,), kwargs={'task_id': 'taken'})")
    task = task_of(up.rest, message)
    assert task["result"] == 5
    assert task["task_id"] != "taken"
    assert task["metadata"]["dramatiq_task_id"] == "taken"
    kinds = [event["kind"] for event in up.rest.get(f"tasks/{task['task_id']}/events")["events"]]
    assert "task_id_taken" in kinds
    assert up.rest.get("tasks/taken")["task_type"] == "opscore.noop"


@pytest.mark.parametrize("version", VERSIONS)
def test_callbacks_are_run_by_python(up, new_python, version):
    python = new_python(version)
    python.worker("python")
    python.send("add.send_with_options(args=(1, 2), on_success=collect)")
    (record,) = python.wait_records("collect")
    original, result = record["args"]
    assert (original["actor_name"], original["args"], result) == ("add", [1, 2], 3)


def test_failures_are_told_each_time_and_the_dead_message_is_the_original(up, python, rabbitmq):
    python.worker("python")
    message = python.send(
        f"fail.send_with_options(args=(1,), max_retries=1, {AT_ONCE}, "
        "on_failure=collect, on_retry_exhausted='collect')"
    )
    records = python.wait_records("collect", 3)
    told = sorted(
        (record["args"] for record in records),
        key=lambda args: ("retries" in args[1], args[0]["options"]["retries"]),
    )
    assert [args[0]["options"]["retries"] for args in told] == [1, 2, 2]
    assert told[0][1]["message"] == "exit code 1"
    assert "boom" in told[0][0]["options"]["traceback"]
    assert told[2][1] == {"retries": 1, "max_retries": 1}
    (dead,) = DramatiqQueue(rabbitmq, "default.XQ").wait_messages(1)
    assert json.loads(dead["payload"]) == message
    assert "exit code 1" in dead["properties"]["headers"]["x-opscore-reason"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pipeline_whose_stages_alternate_runs_to_its_end(up, new_python, version):
    python = new_python(version)
    python.worker("python")
    python.run(
        "(add.message(1, 2) | double.message() | add.message(10) | double.message()"
        " | collect.message()).run()"
    )
    (record,) = python.wait_records("collect")
    assert record["args"] == [32]
    assert [each["x"] for each in python.records("double")] == [3, 16]


def bodies_that_nobody_could_run(message):
    """The hostile messages of docs/howto/dramatiq.md."""
    other = {**message, "message_id": str(uuid.uuid4())}
    yield "not json"
    yield b"\xff\xfe"
    yield "[]"
    yield ""
    yield '{"queue_name":"default"}'
    yield json.dumps({**other, "extra": 1})
    yield json.dumps({**other, "options": None})
    yield json.dumps({**other, "queue_name": "other"})
    yield json.dumps({**other, "args": [[[]]]})[:-1]
    yield "[" * 100_000
    yield json.dumps({**other, "args": ["x" * 2_000_000]})
    yield json.dumps({**other, "options": {"store_results": True}})


@interop("messages that nobody could run", note="on `.XQ`, with `x-opscore-reason`")
@pytest.mark.parametrize("version", VERSIONS)
def test_bad_messages_are_dead_with_a_reason_and_hold_up_no_other(
    up, new_python, rabbitmq, version
):
    python = new_python(version)
    message = python.send("add.send(0)")
    task_of(up.rest, message)
    bodies = list(bodies_that_nobody_could_run(message))
    queue = DramatiqQueue(rabbitmq, "default")
    for body in bodies:
        queue.publish(body)
    good = python.send("add.send(20, 22)")
    assert task_of(up.rest, good)["result"] == 42
    dead = DramatiqQueue(rabbitmq, "default.XQ").wait_messages(len(bodies))
    assert len(dead) == len(bodies)
    for each in dead:
        assert each["properties"]["headers"]["x-opscore-reason"]


def test_strange_messages_that_python_runs_run_here(up, python):
    message = python.send("add.send_with_options(args=(1,), kwargs={'y': 1}, custom=[1])")
    body = {**message, "message_id": "free form \u00e9 \ud800 id", "message_timestamp": 1.5}
    body["options"] = {"eta": None, "custom": 10**30}
    body["kwargs"] = {"y": 41, "lossy": float("nan"), "text": "\ud800"}
    python.run(
        "from dramatiq.message import Message\n"
        f"broker.enqueue(Message.decode({json.dumps(body).encode()!r}))"
    )
    wait_for(
        lambda: len(up.rest.get("tasks?status=completed")["tasks"]) == 2, "both are done", 30
    )
    task = next(
        t for t in up.rest.get("tasks")["tasks"] if "dramatiq_lossy" in (t["metadata"] or {})
    )
    task = up.rest.get(f"tasks/{task['task_id']}")
    assert task["result"] == 42
    assert task["metadata"]["dramatiq_lossy"] == ["kwargs.lossy"]
    assert task["input_data"]["kwargs"] == {"y": 41, "lossy": None, "text": "\\ud800"}


@interop(
    "an actor that is not declared here",
    outcome="differs",
    note="it goes back to the queue after 1, 5, 30, 60 ... s, for who has the actor; "
    "`.XQ` only when in 10 min nobody else was there",
)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_opscore_does_not_declare_comes_back_to_python(up, new_python, version):
    python = new_python(version)
    python.worker("default")
    # RabbitMQ gives consumers their turns, so one of two comes here first, and goes back.
    python.run("theirs.send(1)\ntheirs.send(2)")
    records = python.wait_records("theirs", 2, timeout=200)
    assert sorted(record["x"] for record in records) == [1, 2]


def test_a_message_for_nobody_is_parked_and_said(up, python, rabbitmq):
    python.send("theirs.send(1)")
    wait_for(lambda: "actor 'theirs' is not declared here" in up.output(), up.output, 30)
    assert DramatiqQueue(rabbitmq, "default.XQ").messages() == []


def test_kills_lose_and_double_nothing(up, python, rabbitmq):
    python.run(
        "for i in range(3000):\n"
        "    echo.send_with_options(args=(i,), kwargs={'task_id': f't-{i}'})"
    )
    for _ in range(3):
        wait_for(lambda: up.rest.get("tasks?limit=1")["tasks"], "something was adopted", 30)
        up.process.send_signal(signal.SIGKILL)
        up.process.wait()
        up.restart()
    def completed():
        return up.rest.get("queues/default")["completed"]

    wait_for(lambda: completed() >= 3000, lambda: f"{completed()} of 3000 are done", 120)
    for i in range(0, 3000, 97):
        assert up.rest.get(f"tasks/t-{i}")["result"]["args"] == [i]
    assert completed() == 3000
    assert not up.rest.get("tasks?status=failed")["tasks"]
    assert DramatiqQueue(rabbitmq, "default").messages() == []


@interop(
    "`store_results`: `get_result()` of messages, pipelines and groups",
    note="of actors whose decorator says it: those named in `results.actors`",
)
@pytest.mark.parametrize("version", VERSIONS)
def test_python_gets_results(up_with_results, new_python, redis, version):
    python = new_python(version, redis)
    results = python.run(
        """
def ask(sent):
    print(json.dumps(sent.get_result(block=True, timeout=30_000)))

ask(add.send_with_options(args=(1, 2), store_results=True))
ask(echo.send(7))  # its results are stored because the configuration says so
ask((add.message(1, 2) | add.message_with_options(args=(4,), store_results=True)).run())
members = [add.message_with_options(args=(i,), store_results=True) for i in range(3)]
group = dramatiq.group(members).run()
print(json.dumps(list(group.get_results(block=True, timeout=30_000))))
"""
    )
    assert results[0] == 3
    assert results[1]["args"] == [7]
    assert results[2:] == [7, [0, 1, 2]]


@interop("`store_results`: `ResultFailure`")
@pytest.mark.parametrize("version", VERSIONS)
def test_python_gets_failures(up_with_results, new_python, redis, version):
    (failure,) = new_python(version, redis).run(
        f"""
sent = fail.send_with_options(args=(1,), max_retries=1, store_results=True, {AT_ONCE})
try:
    sent.get_result(block=True, timeout=30_000)
except dramatiq.results.ResultFailure as failure:
    print(json.dumps([failure.orig_exc_type, failure.orig_exc_msg]))
"""
    )
    assert failure[1] == "exit code 1"


RUN_GROUP = """
group = dramatiq.group([{members}])
group.add_completion_callback(collect.message("done"))
from dramatiq.rate_limits import Barrier
create = Barrier.create
Barrier.create = lambda self, parties: print(json.dumps(self.key)) or create(self, parties)
group.run()
"""


def ask_redis(python, expression):
    (answer,) = python.run(f"print(json.dumps(str(barriers.client.{expression})))")
    return answer


def told_to_results(rest):
    """How many ends the results backend was told of, repeated ones included."""
    text = rest.send("GET", "/metrics").body.decode()
    found = re.search(r"^opscore_foreign_results_total (\d+)", text, re.M)
    return int(found[1]) if found else 0


@interop("groups with callbacks, members on both sides")
@pytest.mark.parametrize("version", VERSIONS)
def test_callbacks_of_a_group_that_both_sides_run(up_with_results, new_python, redis, version):
    python = new_python(version, redis)
    python.worker("python")
    (group,) = python.run(
        RUN_GROUP.format(
            members="add.message(1, 2), double.message(5), "
            "add.message(1) | double.message() | add.message(3), add.message(4) | double.message()"
        )
    )
    (record,) = python.wait_records("collect")
    assert record["args"] == ["done"]
    assert sorted(each["x"] for each in python.records("double")) == [1, 4, 5]
    assert ask_redis(python, f"get('{group}')") == "b'1'"
    assert ask_redis(python, f"hlen('{group}@opscore')") == "2"
    assert len(python.records("collect")) == 1


def test_a_member_counts_once_however_often_it_is_told(
    up_with_results, new_python, redis, rabbitmq, services, tmp_path
):
    python = new_python(redis=redis)
    (group,) = python.run(
        RUN_GROUP.format(
            members="wait.message_with_options(args=(), on_success=collect), "
            "double.message(1), double.message(2)"
        )
    )
    rest = up_with_results.rest
    wait_for(lambda: rest.get("tasks?status=running")["tasks"], "the member runs", 30)
    services.halt("rabbitmq")
    try:
        (tmp_path / "go").touch()
        # Its callback cannot be published, so its end is told again and again.
        wait_for(lambda: told_to_results(rest) >= 3, "it is told three times", 60)
        assert ask_redis(python, f"get('{group}')") == "b'2'"
    finally:
        services.start("rabbitmq")
    python.worker("python")
    python.wait_records("collect")
    assert ask_redis(python, f"get('{group}')") == "b'2'"


def test_while_redis_is_away_results_wait_and_nothing_else(
    up_with_results, new_python, redis, services
):
    python = new_python(redis=redis)
    python.worker("python")
    services.halt("redis")
    try:
        message = python.send("add.send_with_options(args=(1, 2), store_results=True)")
        python.send("add.send_with_options(args=(3,), on_success=collect)")
        python.wait_records("collect")
        assert task_of(up_with_results.rest, message)["status"] == "completed"
        wait_for(
            lambda: "wait for the results backend" in up_with_results.output(),
            up_with_results.output,
            30,
        )
    finally:
        services.start("redis")
    (result,) = python.run(
        "from dramatiq.message import Message\n"
        f"sent = Message.decode({json.dumps(message).encode()!r})\n"
        "print(json.dumps(sent.get_result(block=True, timeout=30_000)))"
    )
    assert result == 3


def test_an_outage_of_rabbitmq_is_said_once(up, python, rabbitmq, services):
    services.halt("rabbitmq")
    try:
        wait_for(lambda: "no messages of Dramatiq are taken" in up.output(), up.output, 30)
        wait_for(lambda: "takes no messages" in str(up.rest.get("/ready")), "it is a reason", 30)
    finally:
        services.start("rabbitmq")
    message = python.send("add.send(1, 2)")
    assert task_of(up.rest, message)["result"] == 3
    said = up.output()
    assert said.count("no messages of Dramatiq are taken") == 1
    assert said.count("messages of Dramatiq are taken again") == 1
    assert '"level":"error"' not in said


def test_on_postgresql_in_roles(new_cluster, rabbitmq, new_python, redis, tmp_path):
    cluster = new_cluster(
        toml=write_programs(tmp_path) + '[broker.rabbitmq]\nadopt = ["default"]\n',
        environment={"RABBITMQ_URL": rabbitmq.url, "OPSCORE_RESULTS_URL": redis},
    ).migrate()
    cluster.maintenance()
    cluster.worker("--slots", 4)
    rest = cluster.api().rest
    python = new_python(redis=redis)
    python.worker("python")
    message = python.send("add.send_with_options(args=(1, 2), on_success=collect)")
    assert task_of(rest, message)["result"] == 3
    assert python.wait_records("collect")[0]["args"][1] == 3
    python.send(f"fail.send_with_options(args=(1,), max_retries=0, {AT_ONCE})")
    DramatiqQueue(rabbitmq, "default.XQ").wait_messages(1)
    (group,) = python.run(RUN_GROUP.format(members="add.message(1, 2), double.message(1)"))
    assert python.wait_records("collect", 2)[1]["args"] == ["done"]
    assert ask_redis(python, f"get('{group}')") == "b'1'"
