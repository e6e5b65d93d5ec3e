"""OpscoreMiddleware in workers of the real Dramatiq, over its broker in memory."""

import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import Retry
from dramatiq.middleware import Retries, SkipMessage

from opscore.dramatiq import OpscoreMiddleware, report_progress


class Collected:
    """In place of what sends reports."""

    url = "nowhere"

    def __init__(self):
        self.reports = []

    def add(self, report):
        self.reports.append(report)

    def open(self):
        pass

    def close(self, timeout):
        pass


@pytest.fixture(params=["first", "last"])
def broker(request):
    """With the middleware at both ends of the others: its place must not matter."""
    broker = StubBroker()
    middleware = OpscoreMiddleware("http://127.0.0.1:9")
    middleware._reporter = Collected()
    if request.param == "first":
        broker.add_middleware(middleware, before=type(broker.middleware[0]))
    else:
        broker.add_middleware(middleware)
    broker.reports = middleware._reporter.reports
    dramatiq.set_broker(broker)
    yield broker
    broker.close()


def run(broker, message, **options):
    """The reports of a message, as they are once it is done."""
    message = message.copy(message_id="task_1", options=options)
    broker.enqueue(message)
    worker = Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    try:
        try:
            broker.join(message.queue_name, fail_fast=False, timeout=20_000)
        except TypeError:  # of 1.x
            broker.join(message.queue_name, timeout=20_000)
        worker.join()
    finally:
        worker.stop()
    return broker.reports


def kinds(reports):
    return [(report["kind"], report["retries"]) for report in reports]


def test_a_result(broker):
    @dramatiq.actor
    def add(x, y):
        report_progress(0.5)
        return x + y

    reports = run(broker, add.message(1, 2))
    assert kinds(reports) == [("running", 0), ("progress", 0), ("completed", 0)]
    assert reports[1]["progress"] == 0.5
    assert reports[2]["result"] == 3
    assert all(report["message_id"] == "task_1" for report in reports)
    assert reports[0]["started"] <= reports[2]["at"]


def test_retries_until_it_succeeds(broker):
    seen = []

    @dramatiq.actor(min_backoff=10, max_backoff=20)
    def flaky():
        seen.append(1)
        if len(seen) < 3:
            raise ValueError("not yet")

    reports = run(broker, flaky.message(), opscore_attempts=4)
    assert kinds(reports) == [
        ("running", 0), ("retrying", 0), ("running", 1), ("retrying", 1), ("running", 2),
        ("completed", 2),
    ]  # fmt: skip
    assert reports[1]["error"]["type"] == "ValueError"
    assert reports[1]["error"]["message"] == "not yet"
    assert "Traceback" in reports[1]["error"]["traceback"]
    assert reports[1]["eta"] >= reports[1]["at"] - 1000
    assert {report["attempts_before"] for report in reports} == {4}


def test_the_last_failure(broker):
    @dramatiq.actor(max_retries=0)
    def boom():
        raise RuntimeError("boom")

    reports = run(broker, boom.message())
    assert kinds(reports) == [("running", 0), ("failed", 0)]
    assert reports[1]["error"]["message"] == "boom"


def test_a_failure_that_is_not_retried(broker):
    @dramatiq.actor(throws=KeyError)
    def missing():
        raise KeyError("card")

    assert kinds(run(broker, missing.message())) == [("running", 0), ("failed", 0)]


def test_a_retry_that_names_its_delay(broker):
    seen = []

    @dramatiq.actor
    def later():
        seen.append(1)
        if len(seen) == 1:
            raise Retry("busy", delay=30)

    assert kinds(run(broker, later.message()))[1:3] == [("retrying", 0), ("running", 1)]


def test_a_message_that_is_too_old(broker):
    @dramatiq.actor(max_age=1)
    def old():
        raise AssertionError("it runs")

    reports = run(broker, old.message().copy(message_timestamp=1000))
    assert kinds(reports)[-1] == ("failed", 0)


def test_a_message_that_is_skipped(broker):
    class Skips(dramatiq.Middleware):
        def before_process_message(self, broker, message):
            raise SkipMessage("not today")

    broker.add_middleware(Skips())

    @dramatiq.actor
    def add():
        raise AssertionError("it runs")

    assert kinds(run(broker, add.message()))[-1] == ("skipped", 0)


def test_an_actor_that_is_not_there(broker):
    @dramatiq.actor
    def known():
        pass

    reports = run(broker, known.message().copy(actor_name="unknown"))
    assert kinds(reports) == [("failed", 0)]
    assert reports[0]["error"]["type"] in ("ActorNotFound", "rejected")


def test_pythons_own_messages_are_none_of_its_business(broker):
    @dramatiq.actor
    def add():
        report_progress(1)

    add.send()
    worker = Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    broker.join(add.queue_name)
    worker.join()
    worker.stop()
    assert broker.reports == []


def test_a_report_that_fails_costs_nothing(broker, monkeypatch):
    @dramatiq.actor(max_retries=0)
    def add(x, y):
        results.append(x + y)

    results = []
    for middleware in broker.middleware:
        if isinstance(middleware, OpscoreMiddleware):
            monkeypatch.setattr(middleware._reporter, "add", None)
    run(broker, add.message(1, 2))
    assert results == [3]
    assert any(isinstance(middleware, Retries) for middleware in broker.middleware)
