"""`opscore dramatiq`: existing applications, unchanged, without RabbitMQ."""

import os
import re
import signal
import subprocess

import pytest

from harness.dramatiq import NEWEST, VERSIONS, installed
from harness.processes import is_alive
from harness.server import BINARY
from harness.waiting import wait_for

BROKER = """
import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AsyncIO, CurrentMessage, Middleware

class Told(Middleware):
    def before_process_message(self, broker, message):
        print("before", message.actor_name, sorted(message.options))
    def after_process_message(self, broker, message, *, result=None, exception=None):
        print("after", result, type(exception).__name__)
    def after_nack(self, broker, message):
        print("nack", message.actor_name)

broker = StubBroker()
for each in (CurrentMessage(), AsyncIO(), Told()):
    broker.add_middleware(each)
dramatiq.set_broker(broker)

class holder:
    inner = broker

def setup():
    dramatiq.set_broker(broker)
"""

TASKS = """
import asyncio, pathlib, threading
import dramatiq
from dramatiq.errors import RateLimitExceeded, Retry
from dramatiq.middleware import CurrentMessage, Shutdown, TimeLimitExceeded

pause = threading.Event().wait

@dramatiq.actor
def add(a, b):
    "Adds."
    return a + b

@dramatiq.actor(queue_name="emails", max_retries=2, min_backoff=20, max_backoff=40, time_limit=9000)
def broken():
    raise ValueError(CurrentMessage.get_current_message().options.get("retries", 0))

@dramatiq.actor
async def nap(seconds):
    await asyncio.sleep(seconds)
    return CurrentMessage.get_current_message().actor_name

@dramatiq.actor(throws=(KeyError,))
def thrower():
    raise KeyError("expected")

@dramatiq.actor(max_retries=1)
def again():
    if not CurrentMessage.get_current_message().options.get("retries"):
        raise Retry(delay=30)
    return "again"

@dramatiq.actor(retry_when=lambda retries, error: retries < 2, min_backoff=10, max_backoff=20)
def while_told():
    raise RateLimitExceeded("busy")

@dramatiq.actor(time_limit=300, max_retries=0)
def slow():
    try:
        while True: pause(0.01)
    except TimeLimitExceeded:
        pathlib.Path("limited").touch()
        raise

@dramatiq.actor
def endless():
    pathlib.Path("endless").touch()
    try:
        while not pathlib.Path("go").exists(): pause(0.01)
        return "ended"
    except Shutdown:
        pathlib.Path("shut").touch()
        raise
"""


def interop(feature, **how):
    return pytest.mark.interop(feature, direction="hosted", **how)


def application(server, version):
    (server.folder / "app").mkdir()
    (server.folder / "app/__init__.py").touch()
    (server.folder / "app/broker.py").write_text(BROKER)
    (server.folder / "app/tasks.py").write_text(TASKS)
    server.environment["VIRTUAL_ENV"] = str(installed(version).parents[1])
    return server


def run(server, *arguments):
    server.launch("app.broker:broker", "app.tasks", *arguments, role="dramatiq")
    server.wait_ready()
    return server.rest


@interop("middleware: `before_process_message`, `after_process_message`, `after_nack`")
@pytest.mark.parametrize("version", VERSIONS)
def test_actors_run_with_their_options_and_middleware(new_server, version):
    server = application(new_server(), version)
    rest = run(server, "-p", "2", "-t", "4")
    added = rest.run("add", {"args": [1], "kwargs": {"b": 2}})
    assert added["result"] == 3
    assert rest.run("add", {"a": 1, "b": 4})["result"] == 5
    assert rest.run("nap", {"seconds": 0.01})["result"] == "nap"
    assert rest.run("again")["result"] == "again"

    actors = {each["task_type"]: each for each in rest.get("actors")["actors"]}
    assert (actors["broken"]["queue"], actors["broken"]["max_attempts"]) == ("emails", 3)
    assert actors["add"]["max_attempts"] == 21 and actors["add"]["description"] == "Adds."
    broken = rest.run("broken")
    assert (broken["attempts"], broken["error"]["message"]) == (3, "ValueError: 2")
    thrown = rest.run("thrower")
    assert (thrown["status"], thrown["attempts"]) == ("failed", 1)
    assert rest.run("while_told")["attempts"] == 3
    limited = rest.run("slow")
    assert limited["error"]["kind"] == "timeout" and (server.folder / "limited").exists()

    said = re.findall(rf"{added['task_id']} #1 add: (.*?)\"", server.output())
    assert said == ["before add []", "after 3 NoneType"]
    assert f"{broken['task_id']} #3 broken: nack broken" in server.output()
    assert f"{broken['task_id']} #1 broken: nack" not in server.output()


@interop("command: broker as `module`, `module:path.to.broker`, `module:function`")
@pytest.mark.parametrize("broker", ["app.broker", "app.broker:holder.inner", "app.broker:setup"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_broker_is_named_as_dramatiq_has_it(new_server, broker, version):
    server = application(new_server(), version)
    server.launch(broker, "app.tasks", role="dramatiq")
    server.wait_ready()
    assert server.rest.run("add", {"a": 1, "b": 1})["result"] == 2


@pytest.mark.parametrize("broker", ["app.broker:nothing", "app.tasks:pathlib", "app.nowhere"])
def test_a_broker_that_is_none_is_exit_code_2(new_server, broker):
    server = application(new_server(), NEWEST)
    assert server.launch(broker, role="dramatiq").wait(20) == 2
    assert "import the actors" in server.output()


def test_what_is_missing_is_said_with_the_interpreter(new_server):
    server = application(new_server(), NEWEST)
    python = server.environment["VIRTUAL_ENV"]
    (server.folder / "app/wrong.py").write_text("import surely_missing\n")
    assert server.launch("app.broker", "app.wrong", role="dramatiq").wait(20) == 2
    assert "No module named 'surely_missing'" in server.output()
    assert f"{python}/bin/python3 does not find it: install it there" in server.output()


def test_messages_that_are_not_taken_are_said(new_server):
    server = new_server()
    server.environment["VIRTUAL_ENV"] = str(installed(NEWEST).parents[1])
    application_of_its_own = RABBITMQ_APP.replace('os.environ["RABBITMQ_URL"]', "'amqp://x'")
    (server.folder / "shop.py").write_text(application_of_its_own)
    server.launch("shop", role="dramatiq")
    server.wait_ready()
    assert "RABBITMQ_URL is not set: messages are not taken" in server.output()


@pytest.mark.parametrize("flag", ["-p", "-t"])
def test_a_wrong_value_is_said_by_its_flag(tmp_path, flag):
    command = [BINARY, "dramatiq", "app.broker", flag, "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2 and f"  {flag},--" in done.stderr


@interop("command: `--queues`")
@pytest.mark.parametrize("version", VERSIONS)
def test_queues_can_be_chosen(new_server, version):
    server = application(new_server(), version)
    rest = run(server, "-Q", "emails")
    waiting = rest.submit("add", {"a": 1, "b": 1})["task_id"]
    assert rest.run("broken")["status"] == "failed"
    assert rest.task(waiting)["status"] == "pending"


@interop(
    "`notify_shutdown`, `Shutdown`",
    outcome="differs",
    note="every actor is told of a shutdown, wanted or not, and it costs no retry",
)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_stop_is_raised_as_shutdown_and_costs_no_attempt(new_server, version):
    server = application(new_server(), version)
    rest = run(server, "--worker-shutdown-timeout", "100")
    task_id = rest.submit("endless")["task_id"]
    wait_for(lambda: (server.folder / "endless").exists(), "the actor runs")
    assert server.stop(signal.SIGINT) == 0
    assert (server.folder / "shut").exists()
    run(server)
    (server.folder / "go").touch()
    task = rest.wait(task_id)
    assert (task["result"], task["attempts"]) == ("ended", 1)


@interop("command: a second SIGTERM ends it at once")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_second_signal_ends_it_at_once_with_code_1(new_server, version):
    server = application(new_server(), version)
    rest = run(server)
    rest.submit("endless")
    wait_for(lambda: (server.folder / "endless").exists(), "the actor runs")
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: not server.is_ready(), "it is stopping")

    def ended():
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
        return server.process.poll() is not None

    wait_for(ended, "it has ended")
    assert server.process.returncode == 1


@interop(
    "command: SIGHUP",
    outcome="differs",
    note="the application is loaded anew beside what runs; Dramatiq ends and starts again",
)
@pytest.mark.parametrize("version", VERSIONS)
def test_sighup_loads_the_application_anew(new_server, version):
    server = application(new_server(), version)
    rest = run(server)
    running = rest.submit("endless")["task_id"]
    wait_for(lambda: (server.folder / "endless").exists(), "the actor runs")
    tasks = server.folder / "app/tasks.py"
    tasks.write_text(TASKS.replace("return a + b", "return a * b  # another size"))
    os.kill(server.process.pid, signal.SIGHUP)
    wait_for(lambda: rest.run("add", {"a": 5, "b": 5})["result"] == 25, "the new code runs")
    (server.folder / "go").touch()
    assert rest.wait(running)["attempt"] == 1


@interop("command: `--pid-file`")
@pytest.mark.parametrize("version", VERSIONS)
def test_the_pid_file_is_held_while_it_runs(new_server, version):
    server = application(new_server(), version)
    pid_file = server.folder / "worker.pid"
    run(server, "--pid-file", pid_file)
    assert int(pid_file.read_text()) == server.process.pid
    assert pid_file.stat().st_mode & 0o777 == 0o644
    other = application(new_server("other"), version)
    other.launch("app.broker", "--pid-file", pid_file, role="dramatiq")
    assert other.process.wait(20) == 4
    assert f"belongs to process {server.process.pid}" in other.output()
    server.stop()
    assert not pid_file.exists() and not is_alive(server.process.pid)
    pid_file.write_text("garbage")
    other.launch("app.broker", "--pid-file", pid_file, role="dramatiq")
    assert other.process.wait(20) == 4 and "holds no process id" in other.output()


def test_a_second_one_says_how_there_can_be_several(new_server):
    server = application(new_server(), NEWEST)
    run(server)
    other = application(new_server("other"), NEWEST)
    for taken in ("OPSCORE_DATA", "OPSCORE_SERVER_PORT"):
        other.environment.pop("OPSCORE_DATA", None)
        own = {"OPSCORE_DATA": str(server.folder / "opscore-data")}
        other.environment.update(own if taken == "OPSCORE_DATA" else {taken: str(server.port)})
        other.launch("app.broker:broker", "app.tasks", role="dramatiq")
        assert other.process.wait(20) == 5
        said = other.output()
        assert "is in use by" in said if taken == "OPSCORE_DATA" else "has the port" in said
        assert "give them all the same DATABASE_URL" in said


@interop("command: `--log-file`, `-v`")
@pytest.mark.parametrize("version", VERSIONS)
def test_logs_go_where_they_are_told(new_server, version):
    server = application(new_server(), version)
    rest = run(server, "--log-file", "worker.log", "-v")
    task = rest.run("add", {"a": 1, "b": 1})
    log = server.folder / "worker.log"
    wait_for(lambda: f"{task['task_id']} #1 add: completed" in log.read_text(), "a debug line")


@interop(
    "command: `--fork-function`, `--watch-use-polling`, `--use-spawn`",
    outcome="refused",
    note="by name, with exit code 2",
)
@pytest.mark.parametrize(
    "arguments, words",
    [
        (["-f", "app:fork"], "opscore runs no fork functions"),
        (["--watch", ".", "--watch-use-polling"], "watched by inotify"),
        (["--use-spawn"], "always started anew"),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_has_no_meaning_is_refused_by_name(arguments, words, version):
    command = [BINARY, "dramatiq", "app.broker", *arguments]
    environment = {**os.environ, "VIRTUAL_ENV": str(installed(version).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2 and words in done.stderr


def test_arguments_are_checked(tmp_path):
    done = subprocess.run(
        [BINARY, "dramatiq"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    said = subprocess.run(
        [BINARY, "dramatiq", "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("opscore ")


RABBITMQ_APP = """
import os
import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

dramatiq.set_broker(RabbitmqBroker(url=os.environ["RABBITMQ_URL"]))

@dramatiq.actor(queue_name="sums")
def add(a, b):
    return a + b

@dramatiq.actor(queue_name="other", max_retries=1, min_backoff=10, max_backoff=10)
def boom(why):
    raise ValueError(why)
"""


def test_what_producers_send_through_rabbitmq_runs_in_the_hosted_application(new_server, rabbitmq):
    server = new_server(environment={"RABBITMQ_URL": rabbitmq.url})
    (server.folder / "shop.py").write_text(RABBITMQ_APP)
    python = installed(NEWEST)
    server.environment["VIRTUAL_ENV"] = str(python.parents[1])
    server.launch("shop", role="dramatiq")
    server.wait_ready()
    assert "adopts  sums, other: messages of Dramatiq" in server.output()
    sent = "import shop; print(shop.add.send(1, b=2).message_id, shop.boom.send('x').message_id)"
    done = subprocess.run(
        [python, "-c", sent],
        cwd=server.folder,
        env=server.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    added, failed = done.stdout.split()

    def tasks():
        listed = server.rest.get("tasks?limit=10")["tasks"]
        return {each["metadata"]["dramatiq_message_id"]: each["task_id"] for each in listed}

    wait_for(lambda: len(tasks()) == 2, "both are tasks")
    assert server.rest.wait(tasks()[added])["result"] == 3
    boom = server.rest.wait(tasks()[failed])
    assert (boom["status"], boom["error"]["message"]) == ("failed", "ValueError: x")
    assert boom["attempts"] == 2
