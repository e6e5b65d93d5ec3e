"""What is promised of an installation on PostgreSQL and RabbitMQ, while its parts die, stand still
and come back. Every test ends with the checks of `Installation.check`. The short form leaves out
what tests/e2e has, too. They disturb one installation, one after the other."""

import time

import pytest

from installation import DISTURBED_S, LONG, Felt, kill_in_turn, pause, stop_for
from harness.waiting import wait_for

SESSION_TTL_S = 15


def in_short(short, long_only):
    return [*short, *(long_only if LONG else [])]


@pytest.mark.parametrize("role", in_short(["worker", "maintenance"], ["api"]))
def test_processes_are_killed(make, note, role):
    at = make()
    victims = {"api": at.apis, "worker": at.workers, "maintenance": at.keepers}[role]
    kills = []
    felt = at.under_load(lambda: kills.append(kill_in_turn(victims, DISTURBED_S)))
    note(f"kill -9 of {role}, {kills[0]} times, every 0.2-1 s", felt)


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

    note(f"crash and restart of {' and '.join(names)}", at.under_load(restart))


@pytest.mark.skipif(not LONG, reason="the short form is test_a_long_outage_costs_time_only")
def test_long_tasks_outlive_an_outage_of_postgresql(make, note, services):
    count, lasting_s, away_s = 100, 600, 300
    at = make(slots=count // 2 + 4)
    rest = at.apis[0].rest
    began = time.monotonic()
    for n in range(count):
        rest.submit("timed", task_id=f"long-{n}")
    at.accepted += count
    wait_for(lambda: len(at.lines_of(at.started)) == count, "all run", 60)
    pids = [worker.worker_pid() for worker in at.workers]
    services.halt("postgres")
    pause(away_s)
    services.start("postgres")
    assert [worker.worker_pid() for worker in at.workers] == pids, "a worker has exited"
    pause(began + lasting_s - time.monotonic())
    at.go.touch()
    for n in range(count):
        done = rest.wait(f"long-{n}", timeout=120)
        assert (done["status"], done["attempts"], done["attempt"]) == ("completed", 1, 1)
    twice = len(at.lines_of(at.started)) - count
    at.check()
    felt = Felt(count, None, None, twice)
    note(f"PostgreSQL stopped for {away_s} s while {count} programs run", felt)
    assert twice == 0


@pytest.mark.parametrize("delay_ms", in_short([10], [2]))
def test_every_round_trip_takes_longer(make, note, delay_ms):
    at = make()

    def delay():
        at.database.delay_s = at.broker.delay_s = delay_ms / 2000
        pause(DISTURBED_S)
        at.database.delay_s = at.broker.delay_s = 0

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

    note("hints purged five times a second", at.under_load(lose))


@pytest.mark.skipif(not LONG, reason="the short form is test_a_frozen_host_is_noticed_...")
def test_a_worker_is_stopped_for_longer_than_its_session_may_be_silent(make, note):
    at = make()
    stopped = at.workers[0]
    felt = at.under_load(lambda: stop_for(stopped, SESSION_TTL_S + 5))
    note("SIGSTOP of a worker for 20 s", felt)
    stopped.wait_for_words("was ended by somebody else", timeout=60)
