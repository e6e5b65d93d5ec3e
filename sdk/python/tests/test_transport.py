"""What the clients do when the network or the server does not do its part."""

import json
import os
import socket

import pytest

import opscore
from opscore import errors
from scripted import ScriptedServer

SUBMITTED = json.dumps(
    {
        "task_id": "task_1",
        "task_type": "t",
        "status": "pending",
        "queue": "default",
        "created_at": "2026-11-20T11:19:46.022Z",
    }
)
QUEUES = '{"queues": [], "warnings": []}'
UNAVAILABLE = '{"type": "urn:opscore:error:unavailable", "detail": "the store is away"}'


def say(body, status="200 OK", headers=""):
    """Answers one request."""

    def script(talk):
        if talk.read():
            talk.answer(body, status, headers)

    return script


def hang_up(talk):
    """Takes the request and answers nothing."""
    talk.read()


def test_nobody_there(connect):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(errors.ConnectionFailed, match="opscore up.*OPSCORE_URL") as caught:
        connect(f"http://127.0.0.1:{port}", retries=1).submit("t")
    assert not caught.value.sent


def test_a_submit_without_a_key_is_never_sent_twice(connect):
    with ScriptedServer(hang_up, say(SUBMITTED, "202 Accepted")) as server:
        with pytest.raises(
            errors.ConnectionFailed, match="may or may not.*idempotency_key"
        ) as caught:
            connect(server.url).submit("t")
    assert caught.value.sent and len(server.requests) == 1


@pytest.mark.parametrize("key", [{"idempotency_key": "k"}, {"task_id": "task_1"}])
def test_a_submit_with_a_key_is_sent_again(connect, key):
    with ScriptedServer(hang_up, hang_up, say(SUBMITTED, "202 Accepted")) as server:
        assert connect(server.url).submit("t", **key).task_id == "task_1"
    assert len({request[2] for request in server.requests}) == 1 and len(server.requests) == 3


def test_a_batch_is_sent_again_when_all_of_it_has_keys(connect):
    body = '{"tasks": [{"task_id": "a", "status": "pending"}]}'
    keyed, plain = {"task_type": "t", "task_id": "a"}, {"task_type": "t"}
    with ScriptedServer(hang_up, say(body, "202 Accepted")) as server:
        assert connect(server.url).batch([keyed])[0].task_id == "a"
    with ScriptedServer(hang_up, say(body, "202 Accepted")) as server:
        with pytest.raises(errors.ConnectionFailed):
            connect(server.url).batch([keyed, plain])


def test_reading_is_repeated_and_pausing_a_queue_too(connect):
    with ScriptedServer(hang_up, say(UNAVAILABLE, "503 -"), say(QUEUES)) as server:
        assert connect(server.url).queues() == []
    assert len(server.requests) == 3


@pytest.mark.parametrize("verb", ["cancel", "retry", "delete"])
def test_verbs_that_change_a_task_are_not_repeated(connect, verb):
    with ScriptedServer(hang_up, say("{}")) as server:
        with pytest.raises(errors.ConnectionFailed):
            getattr(connect(server.url), verb)("task_1")
    assert len(server.requests) == 1


def test_unavailable_is_not_repeated_without_a_key(connect):
    with ScriptedServer(say(UNAVAILABLE, "503 -", "Retry-After: 7\r\n")) as server:
        with pytest.raises(errors.Unavailable, match="the store is away") as caught:
            connect(server.url).submit("t")
    assert caught.value.retry_after == 7


def test_retries_end(connect):
    with ScriptedServer(*[hang_up] * 3) as server:
        with pytest.raises(errors.ConnectionFailed):
            connect(server.url, retries=2).queues()
    assert len(server.requests) == 3


def test_a_connection_is_used_again(connect):
    def twice(talk):
        say(QUEUES)(talk)
        say(QUEUES)(talk)

    with ScriptedServer(twice) as server:
        client = connect(server.url, retries=0)
        assert client.queues() == client.queues() == []


def test_a_kept_connection_that_the_server_closed_is_not_used(connect):
    """Else a submit without a key would fail although nothing is wrong."""
    with ScriptedServer(say(QUEUES), say(SUBMITTED, "202 Accepted")) as server:
        client = connect(server.url, retries=0)
        assert client.queues() == []
        assert server.closed.acquire(timeout=10)
        assert client.submit("t").task_id == "task_1"


def test_connection_close_is_heeded(connect):
    close = "Connection: close\r\n"
    with ScriptedServer(say(QUEUES, headers=close), say(QUEUES, headers=close)) as server:
        client = connect(server.url, retries=0)
        assert client.queues() == client.queues() == []


def test_an_answer_of_something_in_between(connect):
    with ScriptedServer(say("<html>nope</html>", "418 Teapot")) as server:
        with pytest.raises(errors.ApiError, match="418.*not from opscore.*nope") as caught:
            connect(server.url).queues()
    assert type(caught.value) is errors.ApiError


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"]
)
def test_what_is_not_http_or_is_cut(connect, answer):
    def script(talk):
        talk.read()
        talk.send(answer)

    with ScriptedServer(script) as server:
        with pytest.raises(errors.ConnectionFailed):
            connect(server.url, retries=0).queues()


def test_a_silent_server(connect):
    def silent(talk):
        talk.read()
        talk.read()  # until the client gives up

    with ScriptedServer(silent) as server:
        with pytest.raises(errors.ConnectionFailed, match="silent"):
            connect(server.url, retries=0, timeout=0.1).queues()


def test_chunked_answers(connect):
    def script(talk):
        talk.read()
        talk.begin_stream()
        talk.chunk(QUEUES[:9])
        talk.chunk(QUEUES[9:])
        talk.end_stream()

    with ScriptedServer(script) as server:
        assert connect(server.url).queues() == []


def event(number, kind):
    data = json.dumps({"number": number, "kind": kind, "at": "2026-11-20T11:19:46.022Z"})
    return f"id: {number}\nevent: {kind}\ndata: {data}\n\n"


def test_events_go_on_where_they_broke_off(connect):
    def first(talk):
        talk.read()
        talk.begin_stream()
        talk.chunk(event(1, "submitted"))
        talk.chunk(event(2, "started")[:-7])  # half an event, and the connection is gone

    def second(talk):
        assert talk.read()[1]["last-event-id"] == "1"
        talk.begin_stream()
        talk.chunk(event(2, "started"))
        talk.chunk(': a comment\n\nevent: progress\ndata: {"done": 3}\n\n')
        talk.end_stream()  # in good order, but the task is not done

    def third(talk):
        assert talk.read()[1]["last-event-id"] == "2"
        talk.begin_stream()
        for character in event(3, "completed"):
            talk.chunk(character)
        talk.end_stream()

    with ScriptedServer(first, second, third) as server:
        events = list(connect(server.url).events("task_1"))
    assert [(each.number, each.kind) for each in events] == [
        (1, "submitted"),
        (2, "started"),
        (None, "progress"),
        (3, "completed"),
    ]
    assert events[2].data == {"done": 3} and events[2].at is None


def test_a_break_after_the_last_event_loses_nothing(connect):
    def first(talk):
        talk.read()
        talk.begin_stream()
        talk.chunk(event(1, "failed"))  # and then perhaps `retried`: the end did not come

    def nothing_left(talk):
        assert talk.read()[1]["last-event-id"] == "1"
        talk.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    with ScriptedServer(first, nothing_left) as server:
        assert [each.kind for each in connect(server.url).events("task_1")] == ["failed"]


def test_events_give_up_when_nobody_answers(connect):
    with ScriptedServer(hang_up) as server:
        with pytest.raises(errors.ConnectionFailed, match="follow task 'task_1'"):
            list(connect(server.url, retries=0).events("task_1"))


def test_a_wait_survives_an_outage_but_not_its_deadline(connect):
    done = '{"task_id": "task_1", "task_type": "t", "status": "completed", "result": 7}'
    away = [say(UNAVAILABLE, "503 -")] * 3
    with ScriptedServer(*away, say(done)) as server:
        assert connect(server.url, retries=1).result("task_1", timeout=30) == 7
    with ScriptedServer(*away) as server:
        with pytest.raises(errors.Unavailable):
            connect(server.url).wait("task_1", timeout=0.01)


def test_proxies_of_the_environment_are_not_asked(connect, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with ScriptedServer(say(QUEUES)) as server:
        assert connect(server.url).queues() == []


def test_a_path_before_the_api_and_the_host_header(connect):
    with ScriptedServer(say(QUEUES)) as server:
        connect(server.url + "/opscore/").queues()
    first, headers, _ = server.requests[0]
    assert first == "GET /opscore/api/v1/queues HTTP/1.1"
    assert headers["host"] == server.url.removeprefix("http://")


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://x", "http://", "http://u:p@x", "http://x?y"]
)
def test_urls_that_are_none(connect, url):
    with pytest.raises(ValueError, match="http|token"):
        connect(url)


def test_url_and_token_come_from_the_environment(monkeypatch):
    with ScriptedServer(say(QUEUES)) as server:
        monkeypatch.setenv("OPSCORE_URL", server.url)
        monkeypatch.setenv("OPSCORE_API_TOKEN", "t0ken")
        assert opscore.Client().queues() == []
    assert server.requests[0][1]["authorization"] == "bearer t0ken"


def test_a_forked_process_makes_its_own_connections(opscore_server):
    with opscore.Client(opscore_server.url) as client:
        client.queues()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if client.run("opscore.echo", "child", wait=10) == "child" else 2
            finally:
                os._exit(code)
        assert client.run("opscore.echo", "parent", wait=10) == "parent"
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
