"""Reports on their way: in batches, kept while nobody takes them, never in anybody's way."""

import json
import logging
import threading

import pytest

from opscore.dramatiq import reporting
from scripted import ScriptedServer

LOGGER = logging.getLogger("test")
TAKEN = '{"results": []}'


@pytest.fixture
def new_reporter(monkeypatch):
    monkeypatch.setattr(reporting, "PAUSE_FIRST_S", 0.01)
    made = []

    def make(url, capacity=100):
        made.append(
            reporting.Reporter(url, "secret", capacity=capacity, timeout=2, logger=LOGGER)
        )
        return made[-1]

    yield make
    for reporter in made:
        reporter.close(0)


def report(message_id="m1", retries=0, **fields):
    return {"message_id": message_id, "retries": retries, "attempts_before": 0, **fields}


def reports_in(server):
    return [json.loads(body)["reports"] for _, _, body in server.requests]


def answering(*answers):
    """Answers the requests of one connection."""

    def script(talk):
        for status, body in answers:
            if talk.read() is None:
                return
            talk.answer(body, status)

    return script


def test_it_goes_where_it_should_with_the_token(new_reporter):
    with ScriptedServer(answering(("200 OK", TAKEN))) as server:
        reporter = new_reporter(server.url)
        reporter.add(report(kind="running"))
        assert reporter.flush(10)
    first, headers, _ = server.requests[0]
    assert first.startswith("POST /api/v1/dramatiq/reports ")
    assert headers["authorization"] == "bearer secret"
    assert reports_in(server) == [[report(kind="running")]]


def test_an_end_takes_its_unsent_start_along(new_reporter):
    gate = threading.Event()

    def held(talk):
        talk.read()
        gate.wait(10)
        talk.answer(TAKEN)
        talk.read()
        talk.answer(TAKEN)

    with ScriptedServer(held) as server:
        reporter = new_reporter(server.url)
        reporter.add(report("first", kind="running"))
        reporter.add(report("second", kind="running", started=5))
        reporter.add(report("second", kind="completed", result=1))
        reporter.add(report("second", retries=1, kind="running"))
        gate.set()
        assert reporter.flush(10)
    sent = [each for batch in reports_in(server) for each in batch]
    ends = [each for each in sent if each.get("result") == 1]
    assert len(ends) == 1 and ends[0]["started"] == 5
    assert sent[-1]["retries"] == 1


@pytest.mark.parametrize("status", ["503 Service Unavailable", "401 Unauthorized", "429 Slow"])
def test_what_is_not_taken_is_sent_again(new_reporter, status):
    with ScriptedServer(answering((status, "{}"), ("200 OK", TAKEN))) as server:
        reporter = new_reporter(server.url)
        reporter.add(report(kind="running"))
        assert reporter.flush(10)
    assert len(server.requests) == 2


def test_one_that_is_refused_harms_no_other(new_reporter, caplog):
    taken = set()

    def script(talk):
        while (got := talk.read()) is not None:
            names = [each["message_id"] for each in json.loads(got[2])["reports"]]
            if "bad" in names:
                talk.answer("{}", "422 Unprocessable")
            else:
                taken.update(names)
                talk.answer(TAKEN)

    with ScriptedServer(script) as server:
        reporter = new_reporter(server.url)
        for name in ("a", "b", "bad", "c", "d"):
            reporter.add(report(name, kind="running"))
        assert reporter.flush(10)
    assert "refuses the report of message bad" in caplog.text
    assert taken == {"a", "b", "c", "d"}


def test_only_so_many_are_kept(new_reporter, caplog):
    reporter = new_reporter("http://127.0.0.1:9", capacity=3)
    for n in range(50):
        reporter.add(report(str(n), kind="running"))
    assert not reporter.flush(0.05)
    assert reporter.dropped >= 46
    reporter.close(0)
    assert "did not reach opscore" in caplog.text
    assert caplog.text.count("are kept meanwhile") <= 1


def test_what_json_cannot_say_is_no_result():
    assert reporting.result_fields(object())["result"] is None
    assert "not JSON" in reporting.result_fields({1, 2})["result_problem"]
    large = reporting.result_fields("x" * (reporting.RESULT_BYTES_MAX + 1))
    assert large["result"] is None and "at most" in large["result_problem"]
    assert reporting.encode({"result": "\ud800"}) == b'{"result":"?"}'
