"""Live events by SSE."""

import json

import pytest

from harness.rest import EventStream


@pytest.fixture
def rest(shared):
    return shared.rest


def test_the_stream_follows_the_task_and_ends_with_it(rest):
    task_id = rest.submit("opscore.sleep", {"ms": 600})["task_id"]
    with EventStream(rest, f"tasks/{task_id}/events") as stream:
        assert stream.response.status == 200
        assert stream.response.headers["Content-Type"].startswith("text/event-stream")
        events = list(stream)
    assert [event["event"] for event in events][0] == "submitted"
    assert events[-1]["event"] == "completed"
    assert [int(event["id"]) for event in events] == list(range(1, len(events) + 1))
    for event in events:
        json.loads(event["data"])


def test_last_event_id_resumes(rest):
    task_id = rest.run("opscore.noop")["task_id"]
    with EventStream(rest, f"tasks/{task_id}/events") as stream:
        everything = list(stream)
    with EventStream(rest, f"tasks/{task_id}/events", last_event_id=1) as stream:
        rest_of_it = list(stream)
    assert rest_of_it == everything[1:]


def test_last_event_id_goes_on_across_a_retry(rest):
    task_id = rest.run("opscore.fail", {"message": "no", "retryable": False})["task_id"]
    with EventStream(rest, f"tasks/{task_id}/events") as stream:
        seen = list(stream)
    for _ in range(2):
        assert seen[-1]["event"] == "failed"
        rest.expect(202, "POST", f"tasks/{task_id}/retry")
        with EventStream(rest, f"tasks/{task_id}/events", last_event_id=seen[-1]["id"]) as stream:
            seen += stream
    assert [int(event["id"]) for event in seen] == list(range(1, len(seen) + 1))
    told = rest.get(f"tasks/{task_id}/events")["events"]
    assert [event["kind"] for event in told] == [event["event"] for event in seen]
    assert [event["event"] for event in seen].count("failed") == 3


def test_json_without_the_accept_header(rest):
    task_id = rest.run("opscore.noop")["task_id"]
    answer = rest.send("GET", f"tasks/{task_id}/events")
    assert answer.headers["Content-Type"].startswith("application/json")
    kinds = [event["kind"] for event in answer.json()["events"]]
    assert kinds == ["submitted", "started", "attempt_completed", "completed"]


def test_unknown_task_is_404_not_a_stream(rest):
    with EventStream(rest, "tasks/task_none/events") as stream:
        assert stream.response.status == 404


def test_many_streams_at_once(rest):
    task_id = rest.submit("opscore.sleep", {"ms": 1500})["task_id"]
    streams = [EventStream(rest, f"tasks/{task_id}/events") for _ in range(200)]
    assert rest.send("GET", "/health", timeout=2).status == 200
    for stream in streams:
        with stream:
            assert list(stream)[-1]["event"] == "completed"
