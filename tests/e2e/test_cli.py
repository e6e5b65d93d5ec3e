"""The command line against a running server, and without one."""

import json
import os
import subprocess

import pytest

from harness.server import BINARY, PLAIN_ENVIRONMENT


@pytest.fixture
def cli(shared):
    return shared.cli


def parsed(done, code=0):
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


COMMANDS = (
    ["up", "api", "worker", "maintenance", "submit", "explain", "migrate", "bench", "version"]
    + [f"tasks {verb}" for verb in ("list", "show", "watch", "cancel", "retry", "delete")]
    + ["tasks export", "jobs", "backup", "restore"]
    + [f"jobs {verb}" for verb in ("list", "show", "watch", "stop")]
    + ["queues", "workers", "config show", "config check", "tasks", "config"]
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_with_an_example(command):
    done = subprocess.run(
        [BINARY, *command.split(), "--help"],
        capture_output=True,
        text=True,
        env=PLAIN_ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 0
    assert f"opscore {command}" in done.stdout, done.stdout


def test_submit_show_list(cli):
    submitted = parsed(cli("submit", "opscore.echo", "--input", '{"a": 1}', "--json"))
    task_id = submitted["task_id"]
    watched = cli("tasks", "watch", task_id)
    assert watched.returncode == 0, watched.stderr
    shown = parsed(cli("tasks", "show", task_id, "--json"))
    assert shown["result"] == {"a": 1}
    assert task_id in cli("tasks", "show", task_id).stdout
    listed = parsed(cli("tasks", "list", "--status", "completed", "--json"))
    assert task_id in [task["task_id"] for task in listed["tasks"]]
    assert task_id in cli("tasks", "list").stdout


def test_submit_wait_prints_the_result(cli):
    done = cli("submit", "opscore.echo", "--input", '"hello"', "--wait")
    assert done.returncode == 0 and "hello" in done.stdout


def test_submit_wait_of_a_failure_exits_1(cli):
    done = cli(
        *("submit", "opscore.fail", "--input", '{"message": "no", "retryable": false}', "--wait")
    )
    assert done.returncode == 1
    assert "no" in done.stderr + done.stdout


def test_input_from_stdin(cli):
    done = cli("submit", "opscore.echo", "--input", "-", "--wait", stdin='{"from": "stdin"}')
    assert done.returncode == 0 and "stdin" in done.stdout
    done = cli("submit", "opscore.echo", "--input", "-", "--wait", stdin="plain words")
    assert done.returncode == 0 and "plain words" in done.stdout


def test_options_reach_the_server(cli):
    task = parsed(
        cli(
            *("submit", "opscore.noop", "--queue", "cli_q", "--priority", "5", "--delay", "1h"),
            *("--label", "a=b", "--name", "n", "--max-attempts", "2", "--json"),
        )
    )
    shown = parsed(cli("tasks", "show", task["task_id"], "--json"))
    assert (shown["queue"], shown["priority"], shown["status"]) == ("cli_q", 5, "scheduled")
    assert (shown["name"], shown["max_attempts"]) == ("n", 2)
    cancelled = cli("tasks", "cancel", task["task_id"])
    assert cancelled.returncode == 0
    assert cli("tasks", "cancel", task["task_id"]).returncode not in (0, 2)
    assert cli("tasks", "retry", task["task_id"]).returncode == 0
    assert cli("tasks", "delete", task["task_id"]).returncode in (0, 5)


def test_queues_and_workers(cli):
    cli("submit", "opscore.noop", "--queue", "cli_pause", "--wait")
    assert cli("queues", "pause", "cli_pause").returncode == 0
    listed = parsed(cli("queues", "list", "--json"))
    assert next(q for q in listed["queues"] if q["name"] == "cli_pause")["paused"]
    assert cli("queues", "resume", "cli_pause").returncode == 0
    assert cli("queues", "purge", "cli_pause").returncode == 0
    assert parsed(cli("workers", "list", "--json"))["workers"]


def test_explain_in_words_and_json(cli):
    task = parsed(cli("submit", "opscore.noop", "--delay", "1h", "--json"))
    words = cli("explain", task["task_id"])
    assert words.returncode == 0 and "due" in words.stdout
    assert parsed(cli("explain", task["task_id"], "--json"))["verdict"] == "due_later"


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["tasks", "show", "task_none"], 3),
        (["explain", "task_none"], 3),
        (["submit"], 2),
        (["submit", "opscore.noop", "--priority", "many"], 2),
        (["no-such-command"], 2),
        (["submit", "no.such.type"], 5),
        (["submit", "opscore.echo", "--input", "@/"], 2),
        (["submit", "opscore.echo", "--idempotency-key", ""], 2),
        (["tasks", "show", ""], 2),
        (["tasks", "delete", "--status", "completed", "--queue=", "--yes"], 2),
    ],
)
def test_exit_codes(cli, arguments, code):
    done = cli(*arguments)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stderr.strip()


@pytest.mark.parametrize("command", ["version", "config show", "tasks list", "up --help"])
def test_output_that_cannot_be_written(shared, command):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [BINARY, *command.split()],
            cwd=shared.folder,
            env=shared.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "could not be written" in done.stderr


def test_export_into_a_pipe(cli, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    cat = ["timeout", "60", "cat", pipe]
    with subprocess.Popen(cat, stdout=subprocess.PIPE, text=True) as reader:
        task_id = parsed(cli("submit", "opscore.noop", "--json"))["task_id"]
        done = cli("tasks", "export", "-o", pipe)
        assert done.returncode == 0, done.stderr
        assert task_id in reader.communicate(timeout=60)[0]
    assert pipe.is_fifo()


def test_without_a_server(new_server):
    server = new_server()
    rest = server.start().rest
    task_id = rest.run("opscore.echo", "kept")["task_id"]
    server.stop()
    done = server.cli("tasks", "list")
    assert done.returncode == 4 and "opscore up" in done.stderr
    for command in (["explain", task_id], ["tasks", "show", task_id]):
        done = server.cli(*command)
        assert done.returncode == 0, done.stderr
        assert task_id in done.stdout
        assert "opscore.db" in done.stderr + done.stdout, "it says where it read"


def test_config_show_and_check(new_server):
    server = new_server(environment={"OPSCORE_API_TOKEN": "a-secret-token"})
    done = server.cli("config", "show")
    assert done.returncode == 0, done.stderr
    assert f"{server.port}" in done.stdout and "opscore.toml:2" in done.stdout
    assert "a-secret-token" not in done.stdout
    assert server.cli("config", "check").returncode == 0
    server.configure("[sever]\nport = 1")
    done = server.cli("config", "check")
    assert done.returncode == 2
    assert "opscore.toml:4" in done.stderr and "server" in done.stderr


def test_no_colour_in_a_pipe(cli):
    assert "\x1b[" not in cli("tasks", "list").stdout
