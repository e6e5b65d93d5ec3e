"""Clients that attack the HTTP edge: each is refused within bounds, and the server goes on."""

import pytest

from harness.processes import memory_mb
from harness.raw import RawConnection, ask, refused, request
from harness.server import Server
from harness.waiting import wait_for

TASK = b'{"task_type": "opscore.noop"}'
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
CLIENT_TIMEOUT_S = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("hostile"))
    with open(server.folder / "opscore.toml", "a", encoding="utf-8") as file:
        file.write(f'client_timeout = "{CLIENT_TIMEOUT_S}s"\n')
    try:
        yield server.start()
    finally:
        server.clean_up()


@pytest.fixture(autouse=True)
def alive(server):
    """Whatever a test did: the same process still answers and runs tasks."""
    worker = server.worker_pid()
    yield
    assert server.worker_pid() == worker, "the server crashed"
    assert server.rest.run("opscore.echo", 1)["result"] == 1


def submit(body=TASK, fields=(), target="/api/v1/tasks", **options):
    return request("POST", target, body, [JSON, *fields], **options)


def chunked(*chunks, fields=(), **options):
    return request("POST", "/api/v1/tasks", b"".join(chunks), [JSON, CHUNKED, *fields], **options)


ONE = b"1d\r\n" + TASK + b"\r\n"
END = b"0\r\n\r\n"
MANY = [f"X-{number}: y" for number in range(150)]
DEEP = b'{"task_type": "opscore.echo", "input_data": ' + b"[" * 5000 + b"]" * 5000 + b"}"


def echo(text):
    return submit(b'{"task_type": "opscore.echo", "input_data": ' + text + b"}")


@pytest.mark.parametrize(
    "status, reason, data",
    [
        # Where does the body end? Two answers are one too many.
        (400, "not_http", submit(fields=["Content-Length: 29", "Content-Length: 29"])),
        (400, "not_http", submit(fields=["Content-Length: 29", "Content-Length: 3"])),
        (400, "not_http", submit(fields=["Content-Length: 29, 29"])),
        (400, "not_http", submit(fields=["Content-Length: +29"])),
        (400, "not_http", submit(fields=["Content-Length: -1"])),
        (400, "not_http", submit(fields=["Content-Length: 0x1d"])),
        (400, "not_http", submit(fields=["Content-Length: 99999999999999999999999"])),
        (413, "body_too_large", submit(fields=["Content-Length: 9223372036854775807"])),
        (400, "not_http", chunked(ONE, END, fields=["Content-Length: 29"])),
        (400, "not_http", chunked(ONE, END, fields=[CHUNKED])),
        (400, "not_http", chunked(ONE, END, version="HTTP/1.0")),
        (400, "not_http", submit(ONE + END, ["Transfer-Encoding: gzip, chunked"])),
        (400, "not_http", submit(ONE + END, ["Transfer-Encoding: xchunked"])),
        (400, "not_http", submit(ONE + END, ["Transfer-Encoding: identity"])),
        # Chunks.
        (413, "body_too_large", chunked(b"ffffffffffffffff\r\n", TASK)),
        (400, "not_http", chunked(b"1ffffffffffffffff\r\n", TASK)),
        (400, "not_http", chunked(b"-1\r\n", TASK)),
        (400, "not_http", chunked(b"1d;" + b"x" * 100_000 + b"\r\n", TASK, b"\r\n", END)),
        (400, "not_http", chunked(*[b"1;" + b"x" * 200 + b"\r\n{\r\n"] * 1000)),
        (400, "not_http", chunked(ONE, b"0\r\n", b"X: y\r\n" * 20_000, b"\r\n")),
        # Sizes.
        (414, "url_too_long", request(target="/health?" + "x" * 9000)),
        (414, "url_too_long", request(target="/" + "x" * 100_000)),
        (431, "head_too_large", request(fields=["X: " + "y" * 17_000])),
        (431, "head_too_large", request(fields=MANY)),
        (400, "not_http", request("A" * 5000)),
        # Compressed bodies are a way to send little and mean much.
        (415, "body_coding", submit(fields=["Content-Encoding: gzip"])),
        (415, "body_coding", submit(fields=["Content-Encoding: deflate, br"])),
        # Bytes that have no place there.
        (400, "not_http", request(target="/hea\0lth")),
        (400, "not_http", request(target="/hea\x01lth")),
        (400, "not_http", request(target="/hea\x7flth")),
        (400, "not_http", request(target="/hea\xfflth")),
        (400, "not_http", request(fields=[b"X: a\0b"])),
        (400, "not_http", request(fields=[b"X: a\x01b"])),
        (400, "not_http", request(fields=[b"X\x01: ab"])),
        (400, "not_http", request(fields=[b"X : ab"])),
        (400, "not_http", request(fields=[b"X: a\rY: b"])),
        (400, "not_http", b"GET /health HTTP/1.1\nHost: localhost\n\n"),
        (400, "not_http", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        (400, "not_http", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (400, "not_http", request(version="HTTP/1.2")),
        (400, "not_http", b"GET /health\r\n\r\n"),
        (400, "not_http", request(host=None)),
        (400, "not_http", request(fields=["Host: localhost"])),
        # Names that this server does not have.
        (403, "foreign_host", request(host="evil.example")),
        (403, "foreign_host", request(target="http://evil.example/health")),
        # JSON.
        (400, "body_malformed", submit(DEEP)),
        (400, "body_malformed", echo(b'"\xff\xfe"')),
        (400, "body_malformed", echo(b'"\\ud800"')),
        (400, "body_malformed", echo(b"1e999")),
        (400, "body_malformed", echo(b"-" + b"9" * 400 + b"e9")),
        (413, "body_too_large", echo(b'"' + b"x" * (1 << 20) + b'"')),
    ],
)
def test_is_refused_and_counted(server, status, reason, data):
    before = refused(server, reason)
    answer = ask(server.port, data)
    assert answer[0] == status, answer
    assert b"urn:opscore:error:" in answer[1]
    assert refused(server, reason) == before + 1


def test_the_limit_of_depth_is_named(server):
    assert b"at most 128" in ask(server.port, submit(DEEP))[1]


@pytest.mark.parametrize(
    "status, target",
    [
        (404, "/api/v1/../../health"),
        (404, "/%68ealth"),
        (404, "/api/v1/tasks/a%2fb"),
        (404, "/api/v1/tasks/a%2561"),
        (400, "/api/v1/tasks/a%00b"),
        (400, "/api/v1/tasks/a%ff"),
        (400, "/api/v1/tasks/a%zz"),
        (400, "/api/v1/tasks/a%"),
        (400, "/api/v1/tasks?queue=%ff%fe"),
        (400, "/api/v1/tasks?queue=a%00"),
        (422, "/api/v1/tasks?limit=99999999999999999999"),
        (422, "/api/v1/tasks?limit=-1"),
    ],
)
def test_tricks_with_percent_signs(server, status, target):
    assert ask(server.port, request(target=target))[0] == status


@pytest.mark.parametrize(
    "field, number",
    [("priority", b"99999999999999999999"), ("delay", b"1e308"), ("timeout", b"9" * 30)],
)
def test_absurd_numbers_name_their_field(server, field, number):
    body = b'{"task_type": "opscore.noop", "%s": %s}' % (field.encode(), number)
    status, text = ask(server.port, submit(body))
    assert status == 422 and field.encode() in text


@pytest.mark.parametrize(
    "data, status",
    [
        (request("TRACE"), 405),
        (request("TRACE", "/nowhere"), 405),
        (request("CONNECT", "localhost:22"), 405),
        (request("OPTIONS", "/api/v1/tasks"), 405),
        (request(version="HTTP/1.0", host=None), 200),
        (request(target="http://localhost/health"), 200),
        (request(target="HTTP://LOCALHOST:8000/health"), 200),
        (request(target="ftp://localhost/health"), 404),
        (request(fields=["Upgrade: h2c", "Connection: Upgrade"]), 200),
        (request(body=b"x" * 1000), 200),
    ],
)
def test_rare_but_legal(server, data, status):
    assert ask(server.port, data)[0] == status


def test_half_closed_connections_get_their_answer(server):
    assert ask(server.port, submit(), finish=True)[0] == 202
    for cut in (1, 20, len(submit()) - 5):
        with RawConnection(server.port) as connection:
            connection.send(submit()[:cut])
            connection.finish_sending()
            assert connection.is_closed()


def test_pipelined_requests_are_bounded_by_who_reads(server):
    """Whoever sends without reading is stopped by TCP, then cut off."""
    before = refused(server, "slow_reader")
    with RawConnection(server.port, timeout=60, receive_buffer=4096) as connection:
        one = request(target="/openapi.json") * 100
        while connection.send(one):
            pass
    assert refused(server, "slow_reader") > before


def test_slow_heads_and_bodies_are_cut(server):
    before = refused(server, "slow_request")
    slow = [RawConnection(server.port) for _ in range(100)]
    for number, connection in enumerate(slow):
        connection.send(submit()[: 30 if number % 2 else -10])
    assert server.rest.run("opscore.echo", 2)["result"] == 2, "nobody else has to wait"
    for connection in slow:
        assert connection.answer()[0] == 408
        connection.socket.close()
    assert refused(server, "slow_request") == before + len(slow)


def test_a_flood_of_refusals_is_one_line_in_the_log(server):
    def lines():
        return server.output().count("refused (not_http)")

    ask(server.port, b"nonsense\r\n\r\n")
    wait_for(lines, "the first of them is logged")
    before = lines()
    for _ in range(200):
        assert ask(server.port, b"nonsense\r\n\r\n")[0] == 400
    assert lines() - before <= 20, "at most one in ten seconds"


def test_memory_comes_back(server):
    """Large bodies, half sent, on many connections at once; and then they are gone."""
    pid = server.process.pid
    server.rest.get("tasks")
    before = memory_mb(pid)
    body = b'{"tasks": [' + b" " * (8 << 20)
    head = request("POST", "/api/v1/tasks/batch", b"", [JSON, f"Content-Length: {len(body) + 9}"])
    bombs = [RawConnection(server.port) for _ in range(8)]
    for bomb in bombs:
        bomb.send(head + body)
    wait_for(lambda: memory_mb(pid) > before + 30, "the bodies are there", timeout=60)
    for bomb in bombs:
        bomb.socket.close()
    wait_for(
        lambda: memory_mb(pid) < before + 20,
        lambda: f"memory is back: {before:.0f} MB before, {memory_mb(pid):.0f} MB now",
        timeout=60,
    )
