"""Programs as actors."""

import pathlib
import re
import time

import pytest

from harness.processes import is_alive
from harness.server import Server
from harness.waiting import wait_for

FAST_RETRY = 'max_attempts = 2\nbackoff = {min = "10ms", max = "20ms"}\n'


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A server with one program for each thing that programs do."""
    server = Server(
        tmp_path_factory.mktemp("programs"),
        environment={"OPENAI_API_KEY": "sk-secret-of-the-server", "TZ": "Europe/Paris"},
    )
    server.add_program("cat", "#!/bin/sh\ncat\n", 'output = "json"')
    server.add_program("text", "#!/bin/sh\nprintf 'two words\\nnext\\n'\n")
    server.add_program("deaf", "#!/bin/sh\necho did not read\n")
    server.add_program("fail3", "#!/bin/sh\necho oops >&2\nexit 3\n", FAST_RETRY)
    server.add_program("fatal", "#!/bin/sh\necho bad data >&2\nexit 65\n")
    server.add_program("later", "#!/bin/sh\nexit 75\n")
    server.add_program("custom", "#!/bin/sh\nexit 9\n", 'exit_codes = {9 = "fatal"}')
    server.add_program("killed", "#!/bin/sh\nkill -KILL $$\n", "max_attempts = 1")
    server.add_program("not_json", "#!/bin/sh\necho '{'\n", 'output = "json"')
    server.add_program("not_utf8", "#!/bin/sh\nprintf '\\377\\376'\n")
    server.add_program("endless", "#!/bin/sh\nyes\n", 'result_max = "64KiB"')
    server.add_program("environment", "#!/bin/sh\nenv\n", 'env = {MINE = "yes"}')
    server.add_program(
        "progress",
        """
        #!/bin/sh
        echo '::progress {"done": 1}' >&2
        echo 'a log line' >&2
        echo '::progress not json' >&2
        echo '::progress {"done": 2}' >&2
        while [ ! -e "$PWD/go" ]; do sleep 0.05; done
        """,
    )
    server.add_program(
        "hard_to_kill",
        """
        #!/bin/sh
        trap '' TERM
        setsid sh -c 'trap "" TERM; echo $$ > escapee.pid; while :; do sleep 1; done' &
        (trap '' TERM; while :; do sleep 1; done) &
        echo $! > member.pid
        echo $$ > leader.pid
        while :; do sleep 1; done
        """,
        'stop_grace = "200ms"\nmax_attempts = 1',
    )
    server.add_program(
        "leaves_a_child", "#!/bin/sh\nsleep 300 &\necho $! > left.pid\necho done\n"
    )
    server.add_program("loud", "#!/bin/sh\nseq -f 'line %g' 5000 >&2\nexit 1\n", "max_attempts = 1")
    try:
        yield server.start()
    finally:
        server.clean_up()


@pytest.fixture
def rest(programs):
    return programs.rest


def pid_in(programs, name):
    path = programs.folder / name
    wait_for(lambda: path.exists() and path.read_text().strip(), f"{name} is written")
    return int(path.read_text())


def test_input_on_stdin_and_json_on_stdout(rest):
    value = {"text": "é\u0001", "list": [1, 2.5, None]}
    task = rest.run("cat", value)
    assert (task["status"], task["result"]) == ("completed", value)


def test_text_is_a_json_string(rest):
    assert rest.run("text")["result"] == "two words\nnext"


def test_a_program_need_not_read_its_input(rest):
    task = rest.run("deaf", "x" * 900_000)
    assert (task["status"], task["result"]) == ("completed", "did not read")


def test_exit_code_and_stderr_are_in_the_error(rest):
    task = rest.run("fail3")
    assert (task["status"], task["attempts"]) == ("failed", 2)
    assert task["error"]["kind"] == "actor_error"
    assert "3" in task["error"]["message"]
    assert "oops" in task["error"]["detail"]


def test_exit_65_is_final(rest):
    task = rest.run("fatal")
    assert (task["status"], task["attempts"]) == ("failed", 1)
    assert "bad data" in task["error"]["detail"]


def test_exit_75_snoozes_for_30_s(rest):
    task = rest.wait(rest.submit("later")["task_id"], "scheduled")
    assert task["attempts"] == 0
    rest.expect(200, "POST", f"tasks/{task['task_id']}/cancel")


def test_exit_codes_are_configurable(rest):
    task = rest.run("custom")
    assert (task["status"], task["attempts"]) == ("failed", 1)


def test_death_by_signal_is_named(rest):
    assert "SIGKILL" in rest.run("killed")["error"]["message"]


@pytest.mark.parametrize("program", ["not_json", "not_utf8"])
def test_bad_output_is_final(rest, program):
    task = rest.run(program)
    assert (task["status"], task["error"]["kind"], task["attempts"]) == ("failed", "bad_output", 1)


def test_too_much_output_is_killed(rest):
    task = rest.run("endless")
    assert (task["status"], task["error"]["kind"]) == ("failed", "result_too_large")
    assert task["attempts"] == 1


def test_the_environment_does_not_leak(rest):
    lines = rest.run("environment")["result"].splitlines()
    names = {line.split("=", 1)[0] for line in lines}
    assert "MINE=yes" in lines and "TZ=Europe/Paris" in lines
    own = {"PWD", "SHLVL", "_", "OLDPWD"}  # of the shell itself
    allowed = {"PATH", "HOME", "LANG", "TZ", "MINE", "OPSCORE_TASK_ID", "OPSCORE_ATTEMPT"}
    assert names - own <= allowed
    assert not any("secret" in line for line in lines)


def test_progress_is_shown_while_it_runs(programs, rest):
    task_id = rest.submit("progress")["task_id"]
    wait_for(lambda: rest.task(task_id)["progress"] == {"done": 2}, "the second progress", 10)
    (programs.folder / "go").touch()
    assert rest.wait(task_id)["status"] == "completed"


@pytest.mark.parametrize("ended_by", ["timeout", "cancel"])
def test_the_whole_tree_dies(programs, rest, ended_by):
    for name in ("leader.pid", "member.pid", "escapee.pid"):
        (programs.folder / name).unlink(missing_ok=True)
    options = {"timeout": "1s"} if ended_by == "timeout" else {}
    task_id = rest.submit("hard_to_kill", **options)["task_id"]
    pids = [pid_in(programs, name) for name in ("leader.pid", "member.pid", "escapee.pid")]
    if ended_by == "cancel":
        rest.expect(202, "POST", f"tasks/{task_id}/cancel")
    task = rest.wait(task_id)
    assert task["error"]["kind"] == ("timeout" if ended_by == "timeout" else "cancelled")
    wait_for(lambda: not any(map(is_alive, pids)), lambda: f"{list(map(is_alive, pids))} died", 8)


def test_what_a_program_leaves_behind_dies(programs, rest):
    began = time.monotonic()
    task = rest.run("leaves_a_child")
    assert (task["status"], task["result"]) == ("completed", "done")
    assert time.monotonic() - began < 10, "it did not wait for the child's pipe"
    pid = pid_in(programs, "left.pid")
    wait_for(lambda: not is_alive(pid), "the left child died", 8)


def test_the_tail_of_stderr_is_kept(rest):
    detail = rest.run("loud")["error"]["detail"]
    assert "line 5000" in detail and "line 1\n" not in detail
    assert len(detail) <= 8192


def test_a_missing_program_is_found_at_start(new_server):
    server = new_server()
    server.configure('[actors."x"]\nkind = "exec"\ncommand = ["/no/such/program"]')
    assert server.launch().wait(10) == 2
    assert "opscore.toml:" in server.output() and "/no/such/program" in server.output()


def test_an_unknown_key_is_found_at_start(new_server):
    server = new_server()
    server.configure('[actors."x"]\nkind = "exec"\ncommand = ["cat"]\ntimeuot = "3s"')
    assert server.launch().wait(10) == 2
    assert "timeuot" in server.output() and "timeout" in server.output()
    assert "opscore.toml:7" in server.output(), server.output()


def test_programs_have_the_open_files_that_the_server_was_started_with(new_server):
    server = new_server()
    server.add_program("files", "#!/bin/sh\nulimit -Sn\n")
    server.add_program("few", "#!/bin/sh\nulimit -n\n", "limits = {open_files = 50}")
    rest = server.start(under=["sh", "-c", 'ulimit -Sn 300; exec "$@"', "sh"]).rest
    limits = pathlib.Path(f"/proc/{server.worker_pid()}/limits").read_text()
    own = re.search(r"Max open files +(\d+)", limits).group(1)
    assert int(own) > 300, "the server itself has raised it"
    assert rest.run("files")["result"] == "300"
    assert rest.run("few")["result"] == "50"
