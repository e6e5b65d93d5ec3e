"""OpscoreBroker under the real Dramatiq: producers as they are, tasks in opscore."""

import time

import dramatiq
import pytest
from dramatiq import errors as dramatiq_errors
from dramatiq.results import ResultFailure, ResultMissing, ResultTimeout

from opscore import testing
from opscore.dramatiq import OpscoreBroker
from opscore.dramatiq.task_ids import derived_id


def test_send_and_get_result(server, add):
    message = add.send(1, 2)
    assert message.get_result(block=True) == {"args": [1, 2], "kwargs": {}}
    task = server.client.get(message.message_id)
    assert (task.task_type, task.queue, task.status) == ("add", "default", "completed")


def test_options_reach_the_task(server, add):
    message = add.send_with_options(
        args=(1,),
        kwargs={"y": 2},
        max_retries=3,
        min_backoff=100,
        time_limit=5000,
        max_age=60_000,
        broker_priority=3,
    )
    assert message.get_result(block=True) == {"args": [1], "kwargs": {"y": 2}}
    task = server.client.get(message.message_id)
    assert (task.max_attempts, task.timeout, task.priority) == (4, "5s", 3)
    assert task.backoff["min"] == "200ms" and task.deadline is not None
    assert task.metadata["dramatiq_options"]["max_retries"] == 3


def test_delay(server, add):
    before_ms = int(time.time() * 1000)
    message = add.send_with_options(args=(1, 2), delay=300)
    assert message.queue_name == "default.DQ" and message.options["eta"] >= before_ms + 300
    with pytest.raises(ResultMissing):
        message.get_result()
    with pytest.raises(ResultTimeout, match="scheduled"):
        message.get_result(block=True, timeout=50)
    message.get_result(block=True)
    started = server.client.get(message.message_id).started_at.timestamp()
    assert round(started * 1000) >= message.options["eta"]


def test_the_senders_own_id(server, add):
    first = add.send(1, task_id="mine")
    assert first.get_result(block=True)["args"] == [1]
    assert server.client.get("mine").metadata["dramatiq_message_id"] == first.message_id
    second = add.send(2, task_id="mine")
    assert second.get_result(block=True)["args"] == [2]
    assert first.get_result(block=True)["args"] == [1]
    derived = server.client.get(derived_id(second.message_id))
    assert derived.metadata["dramatiq_task_id"] == "mine"


def test_a_message_is_submitted_once(server, add, broker):
    message = add.message(7, 7)
    broker.enqueue(message)
    broker.enqueue(message)
    message.get_result(block=True)
    found = server.client.list(task_type="add", limit=5).tasks
    assert [task.task_id for task in found].count(message.message_id) == 1


def test_failure(server, broker):
    @dramatiq.actor(actor_name="boom")
    def boom():
        """Runs in opscore, never here."""

    with pytest.raises(ResultFailure, match="exit code 65") as caught:
        boom.send().get_result(block=True)
    assert caught.value.orig_exc_type == "actor_error"
    assert caught.value.orig_exc_msg == "exit code 65"


def test_groups_and_queues(server, broker):
    @dramatiq.actor(actor_name="add", queue_name="mail")
    def add(number):
        """Runs in opscore, never here."""

    group = dramatiq.group([add.message(number) for number in range(5)]).run()
    results = list(group.get_results(block=True))
    assert [each["args"] for each in results] == [[number] for number in range(5)]
    assert {"mail"} <= broker.get_declared_queues()
    assert broker.get_declared_delay_queues() >= {"mail.DQ"}


def test_join_and_flush(server, broker, add):
    message = add.send_with_options(args=(1, 2), delay=3_600_000)
    with pytest.raises(dramatiq_errors.QueueJoinTimeout):
        broker.join("default", timeout=50)
    broker.flush_all()
    broker.join("default", timeout=10_000)
    with pytest.raises(ResultMissing):
        message.get_result()
    with pytest.raises(dramatiq_errors.QueueNotFound):
        broker.flush("never_declared")


def called_back(server, message, count):
    """The arguments of the callbacks about a message, once there are so many."""
    until = time.monotonic() + 10
    while True:
        found = [
            task.input_data["args"]
            for task in server.client.iterate(task_type="add")
            if task.input_data["args"][:1]
            and isinstance(task.input_data["args"][0], dict)
            and task.input_data["args"][0].get("message_id") == message.message_id
        ]
        if len(found) >= count or time.monotonic() > until:
            return found
        time.sleep(0.05)


def test_callbacks(server, add, broker):
    @dramatiq.actor(actor_name="boom")
    def boom():
        """Runs in opscore, never here."""

    sent = add.send_with_options(args=(1, 2), on_success="add")
    ((told, result),) = called_back(server, sent, 1)
    assert (told["args"], result) == ([1, 2], {"args": [1, 2], "kwargs": {}})
    sent = boom.send_with_options(on_failure="add")
    ((told, failure),) = called_back(server, sent, 1)
    assert told["options"]["retries"] == 1
    assert failure == {"type": "actor_error", "message": "exit code 65"}


def test_pipelines(add, broker):
    pipe = (add.message(1, 2) | add.message_with_options(args=("then",), delay=100)).run()
    first = {"args": [1, 2], "kwargs": {}}
    assert pipe.get_result(block=True) == {"args": ["then", first], "kwargs": {}}
    assert list(pipe.get_results(block=True))[0] == first


def test_nothing_is_consumed(broker):
    with pytest.raises(NotImplementedError, match="opscore dramatiq"):
        broker.consume("default")


def test_hooks_of_middleware_run(server, add, broker):
    seen = []

    class Watching(dramatiq.Middleware):
        def before_enqueue(self, broker, message, delay):
            message.options["trace"] = "abc"
            seen.append(("before", delay))

        def after_enqueue(self, broker, message, delay):
            seen.append(("after", delay))

    broker.add_middleware(Watching())
    message = add.send(1, 2)
    assert seen == [("before", None), ("after", None)]
    metadata = server.client.get(message.message_id).metadata
    assert metadata["dramatiq_options"] == {"trace": "abc"}


def test_an_actor_that_opscore_does_not_know(broker):
    @dramatiq.actor
    def nobody_knows():
        """Is never run."""

    with pytest.raises(Exception, match="nobody_knows"):
        nobody_knows.send()


def test_nobody_there_is_an_error_of_dramatiq(add):
    with testing.server() as gone:
        url = gone.url
    with pytest.raises(dramatiq_errors.ConnectionFailed, match="opscore up"):
        OpscoreBroker(url).enqueue(add.message(1, 2))


def test_an_agent_runs_here(server, broker):
    @dramatiq.actor
    def execute_agent_task_actor(task_id, goal, input_data):
        """Is opscore's own agent_task."""

    message = execute_agent_task_actor.send(
        task_id="run-1", goal="What is 6 * 7?", input_data={"source": "test"}
    )
    assert message.get_result(block=True)["answer"]
    task = server.client.get("run-1")
    assert task.task_type == "agent_task"
    assert task.input_data == {"source": "test", "goal": "What is 6 * 7?"}
    assert task.max_attempts == 21
