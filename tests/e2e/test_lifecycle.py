"""Attempts, cancel, retry, delete, and what each leaves behind."""

import time

import pytest


@pytest.fixture
def rest(shared):
    return shared.rest


def kinds(rest, task_id):
    return [event["kind"] for event in rest.get(f"tasks/{task_id}/events")["events"]]


def test_an_error_is_retried_and_kept(rest):
    task = rest.run(
        "opscore.fail",
        {"message": "no luck", "retryable": True},
        max_attempts=3,
        backoff={"min": "10ms", "max": "50ms"},
    )
    assert (task["status"], task["attempts"], task["max_attempts"]) == ("failed", 3, 3)
    assert task["error"]["kind"] == "actor_error"
    assert "no luck" in task["error"]["message"] and "no luck" in task["error_message"]
    attempts = rest.get(f"tasks/{task['task_id']}/attempts")["attempts"]
    assert [attempt["attempt"] for attempt in attempts] == [1, 2, 3]
    for attempt in attempts:
        assert "no luck" in attempt["error"]["message"]
        assert attempt["worker"] and attempt["started_at"] <= attempt["ended_at"]


def test_a_fatal_error_is_not_retried(rest):
    task = rest.run("opscore.fail", {"message": "never", "retryable": False})
    assert (task["status"], task["attempts"]) == ("failed", 1)


def test_waiting_for_retry_shows_the_last_error(rest):
    submitted = rest.submit(
        "opscore.fail",
        {"message": "again later", "retryable": True},
        backoff={"min": "1h", "max": "1h", "jitter": 0},
    )
    task = rest.wait(submitted["task_id"], "scheduled")
    assert "again later" in task["error"]["message"]
    assert (task["attempts"], task["max_attempts"]) == (1, 5)
    rest.expect(200, "POST", f"tasks/{submitted['task_id']}/cancel")


def test_timeout_is_an_outcome_of_its_own(rest):
    task = rest.run("opscore.sleep", {"ms": 60_000}, timeout="300ms", max_attempts=1)
    assert (task["status"], task["error"]["kind"]) == ("failed", "timeout")


def test_bad_input_of_a_builtin_is_refused_at_submit(rest):
    assert "input_data" in rest.submit("opscore.sleep", {"ms": "long"}, status=422)["field"]


def test_cancel_before_it_runs(rest):
    task_id = rest.submit("opscore.noop", delay="1h")["task_id"]
    task = rest.expect(200, "POST", f"tasks/{task_id}/cancel")
    assert task["status"] == "cancelled"
    rest.expect(409, "POST", f"tasks/{task_id}/cancel")


def test_cancel_while_it_runs(rest):
    task_id = rest.submit("opscore.sleep", {"ms": 60_000})["task_id"]
    rest.wait(task_id, "running")
    rest.expect(409, "POST", f"tasks/{task_id}/retry")
    rest.expect(409, "DELETE", f"tasks/{task_id}")
    began = time.monotonic()
    rest.expect(202, "POST", f"tasks/{task_id}/cancel")
    task = rest.wait(task_id)
    assert task["status"] == "cancelled"
    assert task["error"]["kind"] == "cancelled"
    assert time.monotonic() - began < 30  # and not 60
    assert "cancel_requested" in kinds(rest, task_id)


def test_retry_with_edited_input(rest):
    task = rest.run("opscore.fail", {"message": "first", "retryable": False})
    task_id = task["task_id"]
    edited = {"message": "second", "retryable": False}
    rest.expect(202, "POST", f"tasks/{task_id}/retry", {"input_data": edited})
    again = rest.wait(task_id)
    assert again["input_data"] == edited
    assert "second" in again["error"]["message"]
    assert again["attempt"] == 2
    attempts = rest.get(f"tasks/{task_id}/attempts")["attempts"]
    assert "first" in attempts[0]["error"]["message"]


def test_retry_of_what_is_not_finished_is_409(rest):
    task_id = rest.submit("opscore.noop", delay="1h")["task_id"]
    rest.expect(409, "POST", f"tasks/{task_id}/retry")
    rest.expect(200, "POST", f"tasks/{task_id}/cancel")


def test_delete(rest):
    task_id = rest.run("opscore.noop")["task_id"]
    assert rest.send("DELETE", f"tasks/{task_id}").status in (200, 204)
    rest.expect(404, "GET", f"tasks/{task_id}")
    rest.expect(404, "DELETE", f"tasks/{task_id}")


def test_history_tells_the_story(rest):
    task = rest.run(
        "opscore.fail",
        {"message": "x", "retryable": True},
        max_attempts=2,
        backoff={"min": "1ms", "max": "1ms"},
    )
    events = rest.get(f"tasks/{task['task_id']}/events")["events"]
    numbers = [event["number"] for event in events]
    assert numbers == list(range(1, len(events) + 1))
    words = [event["kind"] for event in events]
    assert words[0] == "submitted" and words[-1] == "failed"
    assert words.count("started") == 2


def test_agent_steps_are_journaled(rest):
    task = rest.run("agent_task", {"prompt": "what is 2 + 2?"})
    assert task["status"] == "completed", task
    steps = rest.get(f"tasks/{task['task_id']}/steps")["steps"]
    assert {"llm", "tool"} <= {step["kind"] for step in steps}
    assert task["result"]["steps"] >= 1


def test_agent_run_is_an_alias(rest):
    assert rest.run("agent_run", {"goal": "say hello"})["status"] == "completed"
