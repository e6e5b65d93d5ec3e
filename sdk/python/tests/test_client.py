"""Both clients against a running server."""

import datetime
import threading
import uuid

import pytest

import opscore
from opscore import errors


def test_submit_and_result(client):
    task = client.submit("opscore.echo", {"n": 1, "text": "Grüße \N{SNOWMAN}"})
    assert task.status in ("pending", "running", "completed")
    assert task.queue == "default" and not task.replayed
    assert client.result(task.task_id, timeout=10) == {"n": 1, "text": "Grüße \N{SNOWMAN}"}
    read = client.get(task.task_id)
    assert read.is_done and read.attempts == 1
    assert read.created_at <= read.started_at <= read.completed_at
    assert read.created_at.tzinfo is not None


def test_options_reach_the_task(client):
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    task_id = f"own-{uuid.uuid4().hex}"
    task = client.submit(
        "opscore.noop",
        queue="mail",
        priority=7,
        run_at=later,
        max_attempts=2,
        backoff={"min": "1s", "max": "2s"},
        timeout=datetime.timedelta(seconds=30),
        deadline=later + datetime.timedelta(hours=1),
        task_id=task_id,
        name="a name",
        labels={"customer": "42"},
        metadata={"trace": [1, 2]},
    )
    read = client.get(task.task_id)
    assert (read.task_id, read.queue, read.priority) == (task_id, "mail", 7)
    assert (read.status, read.max_attempts, read.name) == ("scheduled", 2, "a name")
    assert read.labels == {"customer": "42"} and read.metadata == {"trace": [1, 2]}
    assert abs(read.scheduled_at - later) < datetime.timedelta(milliseconds=2)
    assert read.timeout == "30s" and read.deadline is not None
    assert read.reason
    assert client.cancel(task_id).status == "cancelled"


def test_a_key_makes_one_task(client):
    key = uuid.uuid4().hex
    first = client.submit("opscore.noop", 1, idempotency_key=key)
    again = client.submit("opscore.noop", 1, idempotency_key=key)
    assert again.task_id == first.task_id
    assert (first.replayed, again.replayed) == (False, True)
    with pytest.raises(errors.Conflict, match="idempotency_key"):
        client.submit("opscore.noop", 2, idempotency_key=key)


def test_a_batch_is_all_or_nothing_unless_told_otherwise(client):
    good, bad = {"task_type": "opscore.noop"}, {"task_type": "opscore.noop", "priority": 500}
    with pytest.raises(errors.Invalid) as caught:
        client.batch([good, bad])
    assert caught.value.field == "tasks[1].priority"
    items = client.batch([good, bad], atomic=False)
    assert [item.is_refused for item in items] == [False, True]
    assert items[1].error["field"] == "priority" and items[1].index == 1
    assert client.get(items[0].task_id).task_type == "opscore.noop"


def test_failed_and_cancelled_are_errors_of_result(client):
    with pytest.raises(opscore.TaskFailed, match="actor_error: no") as caught:
        client.run("opscore.fail", {"message": "no", "retryable": False}, wait=10)
    assert caught.value.kind == "actor_error" and caught.value.task.status == "failed"
    task = client.submit("opscore.noop", delay="1h")
    client.cancel(task.task_id)
    with pytest.raises(errors.TaskCancelled):
        client.result(task.task_id, timeout=10)


def test_wait_says_why_it_is_not_done(client):
    task = client.submit("opscore.noop", delay=3600)
    with pytest.raises(TimeoutError, match="It is scheduled for .* opscore explain") as caught:
        client.wait(task.task_id, timeout=0.05)
    assert isinstance(caught.value, errors.WaitTimeout)
    assert caught.value.task.status == "scheduled"


def test_retry_with_another_input(client):
    task = client.submit("opscore.fail", {"message": "no", "retryable": False})
    assert client.wait(task.task_id, timeout=10).status == "failed"
    client.retry(task.task_id, {"message": "still no", "retryable": False})
    read = client.wait(task.task_id, timeout=10)
    assert (read.attempt, read.error.message) == (2, "still no")
    client.retry(task.task_id)
    assert client.wait(task.task_id, timeout=10).attempt == 3


def test_delete(client):
    task = client.submit("opscore.noop")
    client.wait(task.task_id, timeout=10)
    client.delete(task.task_id)
    with pytest.raises(errors.NotFound, match=task.task_id):
        client.get(task.task_id)


def test_lists_are_filtered_and_paged(client):
    mark = uuid.uuid4().hex
    tasks = [{"task_type": "opscore.noop", "labels": {"mark": mark}} for _ in range(450)]
    made = [item.task_id for item in client.batch(tasks)]
    for task_id in made:
        client.wait(task_id, timeout=10)
    page = client.list(labels={"mark": mark}, status=["completed", "failed"], limit=2)
    assert len(page.tasks) == 2 and page.next_cursor
    second = client.list(labels={"mark": mark}, limit=2, cursor=page.next_cursor)
    assert not {task.task_id for task in page.tasks} & {task.task_id for task in second.tasks}
    found = [task.task_id for task in client.iterate(labels={"mark": mark})]
    assert sorted(found) == sorted(made)
    before = client.get(made[0]).created_at
    assert not client.list(labels={"mark": mark}, created_before=before).tasks


def test_events_follow_a_task_to_its_end(client):
    task = client.submit("opscore.sleep", {"ms": 200})
    events = list(client.events(task.task_id))
    assert [event.kind for event in events] == [
        "submitted",
        "started",
        "attempt_completed",
        "completed",
    ]
    assert [event.number for event in events] == [1, 2, 3, 4]
    assert [event.kind for event in client.events(task.task_id, after=2)] == [
        "attempt_completed",
        "completed",
    ]
    assert list(client.events(task.task_id, after=4)) == []
    assert client.history(task.task_id) == events
    with pytest.raises(errors.NotFound):
        list(client.events("task_none"))


def test_events_may_be_left_early(client):
    task = client.submit("opscore.sleep", {"ms": 60_000})
    for event in client.events(task.task_id):
        if event.kind == "started":
            break
    assert client.cancel(task.task_id).cancel_requested
    assert client.wait(task.task_id, timeout=20).status == "cancelled"


def test_queues_actors_and_explain(client):
    queue = f"q{uuid.uuid4().hex[:8]}"
    assert client.pause_queue(queue).paused
    task = client.submit("opscore.noop", queue=queue)
    assert client.queue(queue).pending == 1
    assert queue in [each.name for each in client.queues()]
    assert client.explain(task.task_id).verdict == "queue_paused"
    assert client.purge_queue(queue) == 1
    assert not client.resume_queue(queue).paused
    echo = next(actor for actor in client.actors() if actor.task_type == "opscore.echo")
    assert echo.kind == "native" and echo.queue == "default"


def test_refusals_are_classes(client):
    with pytest.raises(errors.Invalid, match="opscore.echo") as caught:
        client.submit("opscore.ech")
    assert (caught.value.status, caught.value.kind) == (422, "invalid")
    assert caught.value.field == "task_type"
    with pytest.raises(errors.TooLarge, match="reference"):
        client.submit("opscore.noop", "x" * 1_100_000)
    with pytest.raises(errors.Conflict):
        client.cancel(client.wait(client.submit("opscore.noop").task_id).task_id)
    with pytest.raises(errors.NotFound):
        client.request("GET", "nothing/here")
    with pytest.raises(errors.MethodNotAllowed):
        client.request("DELETE", "queues")


def test_what_is_no_json_is_refused_before_it_is_sent(client):
    for value, words in ((float("nan"), "Out of range"), ({1, 2}, "set"), ("\ud800", "surrogate")):
        with pytest.raises(errors.Invalid, match=words):
            client.submit("opscore.echo", value)


def test_misspelled_options_name_the_right_one(client):
    with pytest.raises(TypeError, match="'dealy'; did you mean 'delay'"):
        client.submit("opscore.noop", dealy=1)
    with pytest.raises(TypeError, match="'statsu'; did you mean 'status'"):
        client.list(statsu="failed")
    with pytest.raises(TypeError, match="'task_typ'"):
        client.batch([{"task_typ": "opscore.noop"}])
    with pytest.raises(ValueError, match="no time zone"):
        client.submit("opscore.noop", run_at=datetime.datetime(2030, 1, 1))


def test_a_token_is_sent(connect):
    with opscore.testing.server(environment={"OPSCORE_API_TOKEN": "a-secret-token"}) as server:
        assert connect(server.url, token="a-secret-token").run("opscore.echo", 1, wait=10) == 1
        with pytest.raises(errors.Unauthenticated, match="OPSCORE_API_TOKEN"):
            connect(server.url).queues()
        with pytest.raises(errors.Unauthenticated):
            list(connect(server.url, token="wrong").events("task_none"))


def test_threads_share_a_client(opscore_server):
    results = []
    with opscore.Client(opscore_server.url) as client:

        def work(number):
            results.extend(client.run("opscore.echo", [number, i], wait=10) for i in range(20))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == [[number, i] for number in range(8) for i in range(20)]


def test_a_queue_that_is_full(connect):
    with opscore.testing.server(config="[queues.tiny]\nmax_pending = 1\n") as server:
        client = connect(server.url, retries=0)
        client.submit("opscore.noop", queue="tiny", delay="1h")
        with pytest.raises(errors.QueueFull, match="max-pending") as caught:
            client.submit("opscore.noop", queue="tiny", delay="1h")
        assert caught.value.status == 429 and caught.value.retry_after
