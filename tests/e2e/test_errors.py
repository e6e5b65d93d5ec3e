"""What a client is told when it is wrong."""

import http.client
import socket

import pytest

from harness.server import ROOT

TASK = '{"task_type": "opscore.noop"}'


@pytest.fixture
def rest(shared):
    return shared.rest


def problem(answer, status):
    assert answer.status == status, str(answer)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    body = answer.json()
    assert body["status"] == status
    assert body["type"] and body["title"] and body["detail"]
    return body


def test_malformed_json_has_line_and_column(rest):
    body = problem(rest.send("POST", "tasks", '{\n  "task_type": opscore\n}'), 400)
    assert (body["line"], body["column"]) == (2, 16)
    assert "line 2" in body["detail"] and "column 16" in body["detail"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1,]", TASK + "x", '{"task_type": "a\x01"}', '{"a": NaN}', "\xff{}"]
    + ['{"a":"\\ud800"}', '{"input_data":' + "[" * 200 + "]" * 200 + "}"],
)
def test_what_is_not_json_is_400(rest, text):
    problem(rest.send("POST", "tasks", text.encode("latin-1")), 400)


@pytest.mark.parametrize(
    "field, value",
    [
        ("task_type", 3),
        ("task_type", "has space"),
        ("queue", "x.DQ"),
        ("queue", ""),
        ("priority", 101),
        ("priority", -101),
        ("priority", "high"),
        ("priority", 1.5),
        ("run_at", "tomorrow"),
        ("delay", "soon"),
        ("delay", "-5s"),
        ("max_attempts", -1),
        ("timeout", "0s"),
        ("timeout", True),
        ("deadline", "never"),
        ("labels", {"bad name": "x"}),
        ("labels", ["x"]),
        ("metadata", "text"),
        ("backoff", {"min": "5s", "max": "1s"}),
        ("idempotency_key", 7),
        ("prioritty", 3),
    ],
)
def test_a_wrong_field_is_named(rest, field, value):
    body = {"task_type": "opscore.noop", field: value}
    answer = problem(rest.send("POST", "tasks", body), 422)
    assert answer["field"].startswith(field), answer
    if field == "prioritty":
        assert "priority" in answer["detail"]


def test_unknown_type_names_the_nearest(rest):
    answer = problem(rest.send("POST", "tasks", {"task_type": "opscore.eco"}), 422)
    assert answer["field"] == "task_type"
    assert "opscore.echo" in answer["detail"]


def test_missing_type(rest):
    assert problem(rest.send("POST", "tasks", {"input_data": 1}), 422)["field"] == "task_type"


def test_run_at_and_delay_exclude_each_other(rest):
    body = {"task_type": "opscore.noop", "delay": "1s", "run_at": "2099-01-01T00:00:00Z"}
    problem(rest.send("POST", "tasks", body), 422)


@pytest.mark.parametrize("path", ["tasks/task_nope", "tasks/no-such", "nowhere", "tasks/a/b/c"])
def test_unknown_paths_are_404(rest, path):
    problem(rest.send("GET", path), 404)


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("DELETE", "tasks", {"GET", "POST"}),
        ("PUT", "tasks/task_x", {"GET", "DELETE"}),
        ("GET", "tasks/batch", {"POST"}),
        ("POST", "queues", {"GET"}),
        ("GET", "queues/default/pause", {"POST"}),
        ("POST", "/health", {"GET"}),
    ],
)
def test_wrong_method_is_405_with_allow(rest, method, path, allowed):
    answer = rest.send(method, path, "{}" if method in ("POST", "PUT") else None)
    problem(answer, 405)
    listed = {word.strip() for word in answer.headers["Allow"].split(",")}
    assert allowed <= listed and method not in listed


def test_head_answers_like_get_without_a_body(rest):
    answer = rest.send("HEAD", "/health")
    assert answer.status == 200 and answer.body == b""


def test_too_large_input(rest):
    body = f'{{"task_type": "opscore.echo", "input_data": "{"x" * (1 << 20)}"}}'
    problem(rest.send("POST", "tasks", body), 413)


def test_body_over_the_limit_is_refused_before_it_is_read(shared):
    with socket.create_connection(("127.0.0.1", shared.port), timeout=10) as connection:
        connection.sendall(
            b"POST /api/v1/tasks/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 67108865\r\n\r\n["
        )
        assert b" 413 " in connection.recv(4096).split(b"\r\n", 1)[0]


def test_deep_and_long_headers_are_refused(shared):
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    connection.request("GET", "/health", headers={"X-Long": "x" * 20_000})
    assert connection.getresponse().status == 431


def test_a_bad_cursor_and_filter_are_422(rest):
    assert problem(rest.send("GET", "tasks?cursor=!!"), 422)["field"] == "cursor"
    assert problem(rest.send("GET", "tasks?limit=0"), 422)["field"] == "limit"
    assert problem(rest.send("GET", "tasks?status=done"), 422)["field"] == "status"
    assert problem(rest.send("GET", "tasks?stauts=failed"), 422)["field"] == "stauts"


def test_every_problem_type_is_documented(rest):
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    for answer in (
        rest.send("GET", "nowhere"),
        rest.send("POST", "tasks", "{"),
        rest.send("DELETE", "tasks"),
        rest.send("POST", "tasks", {}),
    ):
        slug = answer.json()["type"].removeprefix("urn:opscore:error:")
        assert f"## {slug}\n" in page, slug


def submit_with_provider(rest, provider):
    body = {"prompt": "x", "agent_config": {"provider": provider}}
    answer = rest.send("POST", "tasks", {"task_type": "agent_task", "input_data": body})
    return problem(answer, 422)


def test_provider_that_does_not_exist_is_refused_at_submit(rest):
    answer = submit_with_provider(rest, "no-such-provider")
    assert "input_data" in answer["field"]


def test_a_named_provider_without_its_key_is_refused(rest):
    answer = submit_with_provider(rest, "openai")
    assert "OPENAI_API_KEY" in answer["detail"]


def test_a_path_that_looks_like_a_pattern_is_just_a_name(rest):
    rest.expect(404, "GET", "tasks/{task_id}")
    rest.expect(404, "GET", "queues/{queue}")
    assert rest.get("/health")["status"] == "ok"
