"""What is promised of an installation on PostgreSQL and RabbitMQ, while its parts die, stand still
and come back. Every test ends with the checks of `Installation.check`. The short form leaves out
what tests/e2e has, too."""

import time

import pytest

from installation import (
    DISTURBED_S,
    IN_FLIGHT,
    LONG,
    Installation,
    kill_in_turn,
    pause,
    stop_for,
)
from harness.services import provide
from harness.waiting import wait_for

SESSION_TTL_S = 15


@pytest.fixture
def make(services, tmp_path, request):
    """Makes the installation of the test; everything is up again afterwards."""
    for name in ("postgres", "rabbitmq"):
        provide(services, name)
    made = []
    request.node.servers = []

    def start(environment=None, **options):
        made.append(Installation(tmp_path, services, environment))
        started = made[-1].start(**options)
        request.node.servers += made[-1].cluster.processes
        return started

    yield start
    for name in ("postgres", "rabbitmq"):
        services.start(name)
    for each in made:
        each.clean_up()


@pytest.fixture
def note(pytestconfig):
    """Keeps what a disturbance felt like, for the table that ends the run."""
    return pytestconfig.felt.__setitem__


def in_short(short, long_only):
    return [*short, *(long_only if LONG else [])]


@pytest.mark.parametrize("role", in_short(["worker", "maintenance"], ["api"]))
def test_processes_are_killed(make, note, role):
    at = make()
    victims = {"api": at.apis, "worker": at.workers, "maintenance": at.keepers}[role]
    felt = at.under_load(lambda: kill_in_turn(victims, DISTURBED_S))
    note(f"kill -9 of {role} in a loop", felt)


@pytest.mark.parametrize(
    "names", in_short([("postgres", "rabbitmq")], [("rabbitmq",), ("postgres",)])
)
def test_services_are_restarted(make, note, services, names):
    at = make()

    def restart():
        for _ in range(3 if LONG else 1):
            for name in names:
                services.halt(name)
            for name in names:
                services.start(name)
            pause(DISTURBED_S / 4)

    note(f"restart of {' and '.join(names)}", at.under_load(restart))


def test_long_tasks_outlive_an_outage_of_postgresql(make, note, services):
    count, away_s = (100, 300) if LONG else (8, SESSION_TTL_S + 2)
    at = make(slots=count // 2 + 4)
    rest = at.apis[0].rest
    for n in range(count):
        rest.submit("timed", task_id=f"long-{n}")
    wait_for(lambda: len(at.marked()) == count, "all run", 60)
    pids = [worker.worker_pid() for worker in at.workers]
    services.halt("postgres")
    pause(away_s)
    services.start("postgres")
    assert [worker.worker_pid() for worker in at.workers] == pids, "a worker has exited"
    at.go.touch()
    for n in range(count):
        done = rest.wait(f"long-{n}", timeout=120)
        assert (done["status"], done["attempts"]) == ("completed", 1)
    assert len(at.marked()) == count, "a task ran twice"


@pytest.mark.parametrize("delay_ms", in_short([10], [2]))
def test_every_round_trip_takes_longer(make, note, delay_ms):
    at = make()

    def delay():
        at.database.delay_s = at.broker.delay_s = delay_ms / 2000
        pause(DISTURBED_S)

    note(f"{delay_ms} ms more for every round trip", at.under_load(delay))


@pytest.mark.parametrize("what", in_short(["cut"], ["stall"]))
def test_connections_stall_and_break(make, note, what):
    at = make()

    def disturb():
        for proxy in (at.broker, at.database) * (4 if LONG else 1):
            getattr(proxy, what)()
            pause(4 if what == "stall" else 1)
            proxy.go_on()
            pause(1)

    note(f"connections {what}", at.under_load(disturb))


def test_rabbitmq_is_low_on_memory(make, note):
    at = make()

    def disturb():
        at.rabbitmq.set_alarm(True)
        try:
            pause(DISTURBED_S)
        finally:
            at.rabbitmq.set_alarm(False)

    note("memory alarm of RabbitMQ", at.under_load(disturb))


def test_hints_are_lost(make, note):
    at = make()

    def lose():
        until = time.monotonic() + DISTURBED_S
        while time.monotonic() < until:
            at.rabbitmq.purge()
            pause(0.2)

    note("queues purged five times a second", at.under_load(lose))


def test_a_worker_is_stopped_for_longer_than_its_session_may_be_silent(make, note):
    at = make()
    stopped = at.workers[0]
    felt = at.under_load(lambda: stop_for(stopped, SESSION_TTL_S + 5))
    note("SIGSTOP of a worker for 20 s", felt)
    stopped.wait_for_words("was ended by somebody else", timeout=60)
