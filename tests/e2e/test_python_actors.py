"""Python actors in interpreters that `opscore up --python` supervises."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from harness.processes import is_alive
from harness.python import children_of, host
from harness.server import BINARY, ROOT, Server
from harness.waiting import wait_for

APP = """
    import asyncio, ctypes, logging, os, pathlib, subprocess, sys, threading
    import opscore

    pause = threading.Event().wait

    @opscore.actor
    def add(a: int, b: int = 1) -> int:
        "Adds two numbers."
        return a + b

    @opscore.actor(queue="mail", max_attempts=7, timeout=12.5, aliases=["post"])
    def send(to: str): return f"sent to {to}"

    @opscore.actor(input_schema=False)
    def whole(input): return {"got": input}

    @opscore.actor
    def about(task: opscore.Context, more: list = []):
        return [task.id, task.type, task.attempt, more, task.remaining() > 0]

    @opscore.actor
    async def later(seconds: float):
        await asyncio.sleep(seconds)
        return [threading.current_thread().name, opscore.current_task().attempt]

    @opscore.actor
    def talk():
        print("printed", end=" ")
        print("in two parts")
        print("to stderr", file=sys.stderr)
        logging.getLogger("app").warning("logged %s", 1)
        print("no end", end="")
        opscore.current_task().progress({"done": 1})

    @opscore.actor(max_attempts=1)
    def boom():
        raise ValueError("tray 2 is empty")

    @opscore.actor
    def fatal(): raise opscore.Fail("no such order", kind="no_order")

    @opscore.actor(max_attempts=2)
    def again():
        task = opscore.current_task()
        if task.attempt == 1: raise opscore.Retry("not yet", delay=0.05)
        return task.charged

    @opscore.actor
    def snoozing():
        if opscore.current_task().attempt == 1: raise opscore.Snooze(0.05, "busy")
        return opscore.current_task().charged

    @opscore.actor
    def bad(kind: str):
        if kind == "nan": return float("nan")
        if kind == "object": return object()
        if kind == "surrogate": return "\\ud800"
        deep = []
        for _ in range(500): deep = [deep]
        return deep

    STEPS = pathlib.Path("steps")

    @opscore.actor(max_attempts=3, backoff=opscore.Backoff(min=0.01, max=0.01))
    def steps():
        def count(by):
            STEPS.write_text(str(int(STEPS.read_text() or 0) + by) if STEPS.exists() else str(by))
            return {"count": int(STEPS.read_text())}
        first = opscore.current_task().step("count", count, 2)
        if opscore.current_task().attempt == 1: raise ValueError("after the step")
        return first

    @opscore.actor(max_attempts=2, backoff=opscore.Backoff(min=0.01, max=0.01))
    def parent(task: opscore.Context, priority: int = 3):
        child = task.submit("add", {"a": 1}, priority=priority, labels={"of": task.id})
        if task.attempt == 1: raise ValueError("after the submit")
        return [child.task_id, child.task_type]

    @opscore.actor
    async def parent_async(task: opscore.Context):
        children = [await task.submit_async("add", {"a": n}, delay=0.01) for n in range(3)]
        return [child.task_id for child in children]

    @opscore.actor
    def no_child(task: opscore.Context):
        try:
            task.submit("nobody")
        except opscore.NotSubmitted as refused:
            task.log("first\\nsecond", "warn")
            return str(refused)

    @opscore.actor(max_attempts=1)
    def endless():
        pathlib.Path("endless").touch()
        try:
            while True: pause(0.01)
        finally:
            pathlib.Path("cleaned").touch()

    @opscore.actor(max_attempts=1)
    async def endless_async(): await asyncio.sleep(1000)

    @opscore.actor(max_attempts=1)
    def deaf():
        while True:
            try: pause(0.01)
            except BaseException: pass

    @opscore.actor
    def wait_for(file: str):
        while not pathlib.Path(file).exists(): pause(0.005)
        return os.getpid()

    @opscore.actor(max_attempts=5, backoff=opscore.Backoff(min=0.01, max=0.01))
    def crash(): ctypes.string_at(0)

    @opscore.actor
    def exits(): os._exit(3)

    @opscore.actor
    def pid(): return os.getpid()
"""


@pytest.fixture(scope="module")
def hosting(tmp_path_factory):
    """A server with two interpreters and all of APP."""
    server = host(Server(tmp_path_factory.mktemp("hosting")), APP, "processes = 2\nthreads = 4\n")
    try:
        yield server.start()
    finally:
        server.clean_up()


def lines_of(server, task_id):
    return re.findall(rf"(\w+)\",\"message\":\"{task_id} #\d+ \w+: (.*?)\"}}", server.output())


def test_inputs_become_arguments(hosting):
    rest = hosting.rest
    assert rest.run("add", {"a": 1, "b": 41})["result"] == 42
    assert rest.run("add", {"a": 1})["result"] == 2
    assert rest.run("post", {"to": "you"})["result"] == "sent to you"
    assert rest.run("whole", [1, {"x": "é\\u0000"}])["result"] == {"got": [1, {"x": "é\\u0000"}]}
    task = rest.run("about", {"more": [1]})
    assert task["result"] == [task["task_id"], "about", 1, [1], True]


def test_the_catalogue_has_what_the_decorator_says(hosting):
    actors = {each["task_type"]: each for each in hosting.rest.get("actors")["actors"]}
    send = actors["send"]
    assert (send["kind"], send["queue"], send["max_attempts"]) == ("python", "mail", 7)
    assert actors["add"]["description"] == "Adds two numbers."
    refused = hosting.rest.send("POST", "tasks/", {"task_type": "add", "input_data": {"b": 1}})
    assert refused.status == 422 and "a" in refused.json()["detail"]


def test_async_actors_share_one_event_loop_and_need_no_thread(hosting):
    began = time.monotonic()
    ids = [hosting.rest.submit("later", {"seconds": 0.3})["task_id"] for _ in range(8)]
    results = [hosting.rest.wait(each)["result"] for each in ids]
    assert results == [["opscore-async", 1]] * 8
    assert time.monotonic() - began < 0.3 * 8 / 2


def test_what_a_task_prints_and_logs_is_its_own(hosting):
    task = hosting.rest.run("talk")
    assert task["progress"] == {"done": 1} or task["status"] == "completed"
    wait_for(lambda: len(lines_of(hosting, task["task_id"])) == 4, "four lines")
    assert lines_of(hosting, task["task_id"]) == [
        ("info", "printed in two parts"),
        ("warn", "to stderr"),
        ("warn", "app: logged 1"),
        ("info", "no end"),
    ]


def test_failures_say_what_was_raised_and_where(hosting):
    task = hosting.rest.run("boom")
    assert task["error"]["message"] == "ValueError: tray 2 is empty"
    assert "app.py" in task["error"]["detail"] and "_host" not in task["error"]["detail"]
    fatal = hosting.rest.run("fatal")
    assert (fatal["error"]["kind"], fatal["error"]["message"]) == ("no_order", "no such order")
    assert fatal["attempts"] == 1
    assert hosting.rest.run("again")["result"] == 1
    assert hosting.rest.run("snoozing")["result"] == 0


@pytest.mark.parametrize("kind", ["nan", "object", "surrogate", "deep"])
def test_a_result_that_json_cannot_say_fails_for_good(hosting, kind):
    task = hosting.rest.run("bad", {"kind": kind})
    assert (task["status"], task["error"]["kind"]) == ("failed", "bad_output")


def test_a_retry_replays_the_steps_of_earlier_attempts(hosting):
    task = hosting.rest.run("steps")
    assert (task["result"], task["attempts"]) == ({"count": 2}, 2)
    assert (hosting.folder / "steps").read_text() == "2"


def test_an_actor_submits_tasks_once_over_all_attempts(hosting):
    rest = hosting.rest
    parent = rest.run("parent")
    assert (parent["status"], parent["attempts"]) == ("completed", 2)
    child, of_type = parent["result"]
    assert of_type == "add" and rest.wait(child)["result"] == 2
    listed = rest.get(f"tasks?label=of:{parent['task_id']}")["tasks"]
    assert [each["task_id"] for each in listed] == [child]
    assert rest.task(child)["priority"] == 3
    (step,) = rest.get(f"tasks/{parent['task_id']}/steps")["steps"]
    assert (step["kind"], step["name"], step["response"]["task_id"]) == ("submit", "add", child)
    children = rest.run("parent_async")["result"]
    assert [rest.wait(each)["result"] for each in children] == [1, 2, 3]


def test_a_task_that_is_refused_is_said_to_the_actor(hosting):
    task = hosting.rest.run("no_child")
    assert "no actor 'nobody' is known" in task["result"]
    wait_for(lambda: lines_of(hosting, task["task_id"]), "the lines are logged")
    assert lines_of(hosting, task["task_id"]) == [("warn", "first"), ("warn", "second")]
    task = hosting.rest.run("parent", {"priority": 101})
    assert task["status"] == "failed" and "priority" in task["error"]["message"]


def test_a_time_limit_is_raised_in_the_actor(hosting):
    task = hosting.rest.run("endless", timeout="300ms")
    assert (task["status"], task["error"]["kind"]) == ("failed", "timeout")
    assert (hosting.folder / "cleaned").exists()
    assert hosting.rest.run("endless_async", timeout="300ms")["error"]["kind"] == "timeout"


def test_a_cancel_is_raised_in_the_actor(hosting):
    (hosting.folder / "endless").unlink(missing_ok=True)
    task_id = hosting.rest.submit("endless")["task_id"]
    wait_for(lambda: (hosting.folder / "endless").exists(), "the actor runs")
    hosting.rest.expect(202, "POST", f"tasks/{task_id}/cancel")
    assert hosting.rest.wait(task_id)["status"] == "cancelled"


def test_an_actor_that_heeds_no_time_limit_costs_its_process_only(new_server):
    server = host(new_server(), APP, "processes = 1\nthreads = 2\n").start()
    neighbour = server.rest.submit("wait_for", {"file": "go"})["task_id"]
    server.rest.wait(neighbour, "running")
    before = children_of(server)
    deaf = server.rest.run("deaf", timeout="200ms", within=40)
    assert deaf["error"]["kind"] == "timeout" and "was killed" in deaf["error"]["detail"]
    (server.folder / "go").touch()
    ended = server.rest.wait(neighbour)
    assert (ended["status"], ended["attempts"], ended["attempt"]) == ("completed", 1, 2)
    assert not is_alive(before[0]) and ended["result"] != before[0]


def test_a_killed_interpreter_loses_nothing(hosting):
    ids = [hosting.rest.submit("wait_for", {"file": "go"})["task_id"] for _ in range(8)]
    for each in ids:
        hosting.rest.wait(each, "running")
    for pid in children_of(hosting):
        os.kill(pid, signal.SIGKILL)
    (hosting.folder / "go").touch()
    for each in ids:
        task = hosting.rest.wait(each)
        assert (task["status"], task["attempts"]) == ("completed", 1)
    wait_for(lambda: len(children_of(hosting)) == 2, "both are there again")


def test_a_crash_is_blamed_with_its_stack_and_quarantined_in_the_end(hosting):
    bystander = hosting.rest.submit("wait_for", {"file": "later"})["task_id"]
    hosting.rest.wait(bystander, "running")
    task = hosting.rest.run("crash", within=60)
    assert (task["status"], task["error"]["kind"]) == ("failed", "poison")
    assert "SIGSEGV" in task["error"]["message"] and "in crash" in task["error"]["detail"]
    (hosting.folder / "later").touch()
    assert hosting.rest.wait(bystander)["status"] == "completed"


def test_an_actor_that_ends_its_process_is_lost_and_says_so(new_server):
    server = host(new_server(), APP, "processes = 1\nthreads = 1\n").start()
    task = server.rest.run("exits", max_attempts=1, within=60)
    assert task["error"]["kind"] == "worker_lost" and "exit code 3" in task["error"]["message"]


def test_interpreters_are_replaced_after_so_many_tasks(new_server):
    server = host(new_server(), APP, "processes = 1\nmax_tasks = 20\n").start()
    (first,) = children_of(server)
    for _ in range(25):
        server.rest.run("pid")
    wait_for(lambda: not is_alive(first), "the first one has gone")
    assert server.rest.run("pid")["result"] != first
    assert "has run 2" in server.output()


def test_a_large_interpreter_is_replaced(new_server):
    app = """
        import os, opscore
        KEPT = []
        @opscore.actor
        def grow(): KEPT.append(b"x" * 100_000_000); return os.getpid()
        @opscore.actor
        def pid(): return os.getpid()
    """
    server = host(new_server(), app, 'processes = 1\nmax_memory = "80MiB"\n').start()
    large = server.rest.run("grow")["result"]
    wait_for(lambda: not is_alive(large), "the large one has gone")
    assert server.rest.run("pid")["result"] != large


def test_a_module_that_cannot_be_imported_ends_the_start(new_server):
    server = host(new_server(), "import nowhere_to_be_found\n")
    assert server.launch().wait(20) == 2
    words = server.output()
    assert "No module named 'nowhere_to_be_found'" in words
    assert 'File "' in words and "app.py" in words and "_host" not in words


@pytest.mark.parametrize(
    "source, words",
    [
        ("x = 1\n", "there is no actor in app"),
        ("raise SystemExit('not here')\n", "not here"),
        ("import os; os._exit(9)\n", "exit code 9 before it could run tasks"),
        ("def f(:\n", "SyntaxError"),
    ],
)
def test_whatever_keeps_a_module_from_being_imported_is_said(new_server, source, words):
    server = host(new_server(), source)
    assert server.launch().wait(20) == 2
    assert words in server.output()


def test_a_slow_import_is_reported_while_it_happens(new_server):
    app = """
        import opscore, slow.engine
        @opscore.actor
        def pid(): return 1
    """
    server = host(new_server(), app)
    (server.folder / "slow").mkdir()
    (server.folder / "slow/__init__.py").touch()
    (server.folder / "slow/engine.py").write_text(
        "import pathlib, threading\n"
        "while not pathlib.Path('go').exists(): threading.Event().wait(0.01)\n"
    )
    server.launch()
    wait_for(lambda: "still importing slow.engine" in server.output(), "it is reported", 15)
    assert "engine.py" in server.output()
    (server.folder / "go").touch()
    server.wait_ready()
    assert server.rest.run("pid")["result"] == 1


def test_a_start_that_waits_for_an_import_can_be_stopped(new_server):
    app = "import threading\nthreading.Event().wait()\n"
    server = host(new_server(), app)
    server.launch()
    wait_for(lambda: children_of(server), "it imports")
    assert server.stop() == 0


def test_sigterm_lets_what_runs_end(new_server):
    server = host(new_server(), APP).start()
    task_id = server.rest.submit("wait_for", {"file": "go"})["task_id"]
    server.rest.wait(task_id, "running")
    pids = children_of(server)
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: not server.is_ready(), "it is stopping")
    (server.folder / "go").touch()
    assert server.process.wait(20) == 0
    assert not any(is_alive(pid) for pid in pids)
    server.start()
    assert server.rest.task(task_id)["status"] == "completed"


def test_what_does_not_end_in_time_is_handed_back_uncharged(new_server):
    server = host(new_server(), APP).start("--drain-grace", "100ms")
    task_id = server.rest.submit("endless")["task_id"]
    server.rest.wait(task_id, "running")
    assert server.stop() == 0
    server.start()
    server.rest.wait(task_id, "running")
    task = server.rest.task(task_id)
    assert task["attempts"] == 0 and task["attempt"] > 1


def test_interpreters_die_with_the_server(new_server):
    server = host(new_server(), APP).start()
    pids = children_of(server)
    assert pids
    server.kill()
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "they are gone")


def test_a_change_in_a_watched_folder_is_taken_up_without_losing_tasks(new_server):
    app = """
        import pathlib, threading, opscore
        pause = threading.Event().wait
        @opscore.actor
        def version(): return 1
        @opscore.actor
        def wait_for(file: str):
            while not pathlib.Path(file).exists(): pause(0.005)
            return 1
    """
    server = host(new_server(), app, 'processes = 1\nwatch = "."\n').start()
    running = server.rest.submit("wait_for", {"file": "go"})["task_id"]
    server.rest.wait(running, "running")
    source = (server.folder / "app.py").read_text()
    (server.folder / "app.py").write_text("import nowhere_to_be_found\n")
    wait_for(lambda: "nowhere_to_be_found" in server.output(), "the mistake is reported")
    assert server.rest.run("version")["result"] == 1
    (server.folder / "app.py").write_text(
        source.replace("return 1", "return 2") + "@opscore.actor\ndef fresh(): return 3\n"
    )
    wait_for(lambda: server.rest.run("version")["result"] == 2, "the new code runs")
    wait_for(
        lambda: server.rest.send("POST", "tasks/", {"task_type": "fresh"}).status == 202,
        "the new actor is known",
    )
    assert server.rest.run("fresh")["result"] == 3
    (server.folder / "go").touch()
    task = server.rest.wait(running)
    assert (task["result"], task["attempt"]) == (1, 1)


def test_the_interpreter_of_the_active_environment_is_used_and_shown(new_server, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    app = "import sys, opscore\n@opscore.actor\ndef where(): return sys.prefix\n"
    server = new_server(environment={"VIRTUAL_ENV": str(tmp_path / "venv")})
    (server.folder / "app.py").write_text(app)
    server.start("--python", "app")
    assert server.rest.run("where")["result"] == str(tmp_path / "venv")
    assert f"Python {sys.version.split()[0]} at {tmp_path}/venv/bin/python3" in server.output()
    assert "the one inside this program is used" in server.output()


def test_a_package_of_another_version_is_refused_and_both_are_named(new_server):
    server = host(new_server(), APP)
    (server.folder / "opscore").mkdir()
    (server.folder / "opscore/__init__.py").write_text('__version__ = "0.0.9"\n')
    assert server.launch().wait(20) == 2
    assert "has version 0.0.9, this program has 0.1.0" in server.output()


def test_the_package_inside_the_program_is_that_of_the_sources(tmp_path):
    text = (ROOT / "sdk/python/opscore/__init__.py").read_text()
    version = re.search(r'__version__ = "(.*)"', text).group(1)
    said = subprocess.run([BINARY, "version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"opscore {version} ")


def test_native_and_hosted_actors_run_side_by_side(hosting):
    ids = [
        hosting.rest.submit(*each)["task_id"]
        for each in [("opscore.echo", {"n": 1}), ("add", {"a": 1})] * 50
    ]
    results = [hosting.rest.wait(each)["result"] for each in ids]
    assert results == [{"n": 1}, 2] * 50


def test_a_missing_interpreter_is_an_error_of_the_configuration(new_server):
    server = new_server()
    server.configure('[python]\nmodules = ["app"]\ninterpreter = "/nowhere/python3"\n')
    assert server.launch().wait(20) == 2
    assert "/nowhere/python3" in server.output()
