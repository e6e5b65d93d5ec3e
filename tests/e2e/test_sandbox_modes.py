"""Which mode runs what, what is refused with which words, and the examples of the documentation."""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from harness.sandbox import NOBODY, REQUIRED, USERS, WORKS, needs_sandbox
from harness.server import BINARY, ROOT


def without_bwrap(server, script=None):
    """Lets the server find no bwrap, or this script in its place."""
    folder = server.folder / "bin"
    folder.mkdir()
    if script:
        (folder / "bwrap").write_text(script)
        (folder / "bwrap").chmod(0o755)
    server.environment["PATH"] = str(folder)


@pytest.mark.parametrize("user", USERS)
def test_required_means_that_it_starts_only_where_it_works(user, new_server):
    server = new_server()
    server.add_program("x", "#!/bin/sh\ntrue\n", REQUIRED)
    as_user = {"user": NOBODY, "cwd": "/"} if user == "nobody" else {}
    # As nobody only the check: pytest's folders are not open to others.
    with tempfile.TemporaryDirectory(prefix="opscore-sandbox-", dir="/var/tmp") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        shutil.copy(BINARY, folder / "opscore")
        (folder / "opscore.toml").write_text(
            '[actors.x]\ncommand = ["/bin/true"]\nsandbox = "required"\n'
        )
        done = subprocess.run(
            [folder / "opscore", "config", "check", "--config", folder / "opscore.toml"],
            env={**server.environment, "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **as_user,
        )
    words = done.stdout + done.stderr
    if WORKS[user]:
        assert done.returncode == 0, words
    else:
        assert done.returncode == 2 and "opscore.toml:3: actors.x requires a sandbox" in words
        assert "preferred" in words, "what to do"


@pytest.mark.parametrize(
    "script, reason",
    [
        (None, "install bubblewrap"),
        ("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n",
         "No permissions to create new namespace"),
        ("#!/bin/sh\nkill -KILL $$\n", "killed by SIGKILL"),
    ],
)  # fmt: skip
def test_required_refuses_with_place_reason_and_way_out(new_server, script, reason):
    server = new_server()
    server.add_program("x", "#!/bin/sh\ntrue\n", REQUIRED)
    without_bwrap(server, script)
    for command in (["up"], ["config", "check"]):
        done = server.cli(*command)
        assert done.returncode == 2, (command, done)
        words = done.stdout + done.stderr
        assert re.search(r"opscore\.toml:\d+: actors\.x requires a sandbox", words), words
        assert reason in words and "preferred" in words, words


def test_preferred_runs_without_and_says_so_everywhere(new_server):
    server = new_server()
    server.add_program("x", "#!/bin/sh\necho ran\n", 'sandbox = "preferred"')
    server.configure('[agent]\nprovider = "rehearsal"')
    server.configure('[agent.providers.rehearsal]\nkind = "scripted"\nscript = "rehearsal.json"')
    turns = [{"tool_calls": [{"name": "x", "arguments": {}}]}, {"text": "{{last_tool_result}}"}]
    (server.folder / "rehearsal.json").write_text(json.dumps({"turns": turns}))
    without_bwrap(server)
    server.start()
    banner = [line for line in server.output().splitlines() if "WITHOUT" in line]
    assert any("note" in line and "opscore.toml:" in line for line in banner), server.output()
    assert any("warn" in line.lower() and "install bubblewrap" in line for line in banner)

    actors = {actor["task_type"]: actor for actor in server.rest.get("actors")["actors"]}
    assert actors["x"]["sandbox"]["mode"] == "preferred"
    assert actors["x"]["sandbox"]["active"] is False
    assert "install bubblewrap" in actors["x"]["sandbox"]["reason"]
    assert "NOT IN FORCE" in server.cli("actors").stdout

    for task in (server.rest.run("x"), server.rest.run("agent_task", {"prompt": "go"})):
        assert task["status"] == "completed", task.get("error")
        events = server.rest.get(f"tasks/{task['task_id']}/events")["events"]
        said = [event for event in events if event["kind"] == "not_sandboxed"]
        assert [event["attempt"] for event in said] == [1], events
        assert said[0]["data"]["actor"] == "x"
        assert "install bubblewrap" in said[0]["data"]["reason"]


def test_off_is_off_and_idle_settings_are_noted(new_server):
    server = new_server()
    server.add_program("x", "#!/bin/sh\nls -d /etc/hostname\n", 'read = ["/etc"]')
    done = server.cli("config", "check")
    assert done.returncode == 0 and "actors.x.read has no effect" in done.stdout + done.stderr
    server.start()
    actors = {actor["task_type"]: actor for actor in server.rest.get("actors")["actors"]}
    assert actors["x"]["sandbox"] == {"mode": "off", "active": False, "reason": None}


@pytest.mark.parametrize(
    "options, problem",
    [
        ('read = ["/no/such/folder"]', "actors.x.read: /no/such/folder: no such file or folder"),
        ('write = ["/proc/sys"]', "actors.x.write: /proc/sys: a sandbox has its own /proc"),
        ('write = ["/"]', "actors.x.write: /: that would be no sandbox"),
        ("limits = {cpus = 0.001}", "actors.x.limits.cpus must be 0 or at least"),
        ('sandbox = "maybe"', "must be one of off, preferred, required"),
    ],
)
def test_bad_settings_are_found_at_start(new_server, options, problem):
    server = new_server()
    mode = "" if options.startswith("sandbox") else 'sandbox = "preferred"\n'
    server.add_program("x", "#!/bin/sh\ntrue\n", mode + options)
    done = server.cli("config", "check")
    assert done.returncode == 2
    assert re.search(r"opscore\.toml:\d+: " + re.escape("actors.x"), done.stderr), done
    assert problem in done.stdout + done.stderr


def test_a_home_folder_is_no_working_folder_by_accident(new_server):
    server = new_server()
    server.environment["HOME"] = str(server.folder)
    server.add_program("x", "#!/bin/sh\ntrue\n", 'sandbox = "preferred"')
    done = server.cli("config", "check")
    assert done.returncode == 2, done
    assert f"would run in {server.folder}, which its sandbox hides" in done.stderr
    server.configure(f'cwd = "{server.folder}"')
    assert server.cli("config", "check").returncode == 0


# ---------------------------------------------------------------- the documentation


@needs_sandbox
def test_the_example_runs_code_that_nobody_has_looked_at(new_server):
    server = new_server()
    example = ROOT / "examples" / "sandbox"
    server.start("--config", example / "opscore.toml", "--port", server.port, timeout=60)
    readme = (example / "README.md").read_text()
    commands = re.findall(r"^    opscore submit python\.run --input '(.*)' --wait$", readme, re.M)
    assert len(commands) == 2, "the two of the README"
    good, bad = (server.rest.run("python.run", json.loads(text)) for text in commands)
    assert (good["status"], good["result"]) == ("completed", "42"), good
    assert bad["status"] == "failed" and "PermissionError" in bad["error"]["detail"], bad


def test_the_configuration_of_the_guide_is_one(new_server):
    server = new_server()
    guide = (ROOT / "docs/howto/sandbox.md").read_text()
    server.configure(re.search(r"```toml\n(.*?)```", guide, re.S)[1])
    program = server.folder / "render.py"
    program.write_text("#!/bin/sh\ncat templates/a > out/page\n")
    program.chmod(0o755)
    for name in ("templates", "out"):
        (server.folder / name).mkdir()
    (server.folder / "templates/a").write_text("from the template")
    if not WORKS["me"]:
        assert "requires a sandbox" in server.cli("config", "check").stderr
        return
    server.start(timeout=60)
    assert server.rest.run("invoice.render")["status"] == "completed"
    assert (server.folder / "out/page").read_text() == "from the template"
