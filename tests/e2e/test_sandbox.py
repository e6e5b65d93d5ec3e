"""Programs in a sandbox: what they can do, and what they try in vain.

Where bubblewrap cannot work (a container without user namespaces), there is nothing to try: then
test_sandbox_modes.py proves that `required` refuses to start."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import tempfile

import pytest

from harness.processes import is_alive
from harness.sandbox import NOBODY, REQUIRED, for_users, needs_sandbox
from harness.server import BINARY, ROOT, Server
from harness.waiting import wait_for

SECRET = "planted-secret"
STUBBORN = f"stubborn-{os.getpid()}"
PYTHON = "/usr/bin/python3"


class Walled(Server):
    """A server with actors in sandboxes, and with things that they should not get at."""

    def __init__(self, folder, user):
        super().__init__(
            folder,
            environment={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": str(folder / "home"),
                "OPSCORE_API_TOKEN_FILE": str(folder / "token"),
                "SERVER_SECRET": SECRET,
            },
            binary=folder / "opscore",
            user=NOBODY if user == "nobody" else None,
        )
        shutil.copy(BINARY, self.binary)
        self.rest.token = SECRET
        for name in ("readable", "writable", "home", "opscore-data"):
            (self.folder / name).mkdir()
        self.secrets = [
            self.folder / name for name in (".env", "token", "home/key", "opscore-data/planted")
        ]
        self.secrets.append(self.folder.parent / "secret")  # beside, in a folder not named
        for path in self.secrets:
            path.write_text("OPSCORE_LOG_LEVEL=info\n" if path.name == ".env" else SECRET)
        (self.folder / "readable" / "notes").write_text("for all")
        shutil.copy(ROOT / "tests/e2e/escape.py", self.folder)
        self.program = self.folder / "escape.py"
        self.add_actor("escape", 'tmp_max = "1MiB"\nlimits = {processes = 60}')
        self.add_actor("online", "network = true")
        tool = self.folder / "writable" / "tool"
        tool.write_text("#!/bin/sh\necho a tool\n")
        tool.chmod(0o755)
        self.configure(f'[actors.tool]\ncommand = ["{tool}"]\nmax_attempts = 1\n{REQUIRED}')
        if user == "nobody":
            for path in [self.folder, *self.folder.rglob("*")]:
                os.chown(path, NOBODY, NOBODY)

    def add_actor(self, name, options):
        self.configure(
            f'[actors.{name}]\ncommand = ["{PYTHON}", "{self.program}"]\noutput = "json"\n'
            f'read = ["readable"]\nwrite = ["writable"]\nmax_attempts = 1\n{REQUIRED}{options}'
        )

    def attempt(self, what, actor="escape", **fields):
        task = self.rest.run(actor, {"try": what, **fields}, within=120)
        assert task["status"] == "completed", task.get("error")
        return task["result"]

    def pids(self):
        return [self.process.pid, self.worker_pid()]


@pytest.fixture(scope="module", params=for_users)
def walled(request):
    # Not in pytest's folder, which only its own user may enter.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="opscore-sandbox-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "server").mkdir()
    server = Walled(folder / "server", request.param)
    try:
        yield server.start(timeout=60)
    finally:
        server.clean_up()
        shutil.rmtree(folder)


def test_it_writes_nowhere_but_in_the_named_folders(walled):
    inside, outside = walled.folder / "writable/new", walled.folder / "readable/new"
    forbidden = ["/new", "/usr/new", "/etc/new", "/etc/passwd", "/var/new", "/dev/new", "/proc/new"]
    forbidden += [str(outside), str(walled.folder / "new"), str(walled.program)]
    forbidden += [str(path) for path in walled.secrets] + [str(walled.data)]
    results = walled.attempt("write", paths=[str(inside), "/tmp/new", "/dev/shm/new", *forbidden])
    assert inside.read_text() == "x"
    assert results.pop(str(inside)) == results.pop("/tmp/new") == "done"
    assert results.pop("/dev/shm/new") == "done"
    assert "done" not in results.values(), results
    assert not outside.exists() and not pathlib.Path("/tmp/new").exists()


def test_it_reads_what_is_named_and_no_secrets(walled):
    secrets = [*walled.secrets, walled.data, walled.folder / "opscore.toml", "/etc/shadow"]
    notes = str(walled.folder / "readable/notes")
    found = walled.attempt("read", paths=[notes, *map(str, secrets)])
    assert found.pop(notes) == "for all"
    assert all(isinstance(content, dict) for content in found.values()), found


def test_home_folders_and_the_data_folder_are_empty(walled):
    hidden = ["/root", "/home", str(walled.folder / "home"), str(walled.folder / "opscore-data")]
    assert not any(walled.attempt("listing", paths=hidden).values())


def test_it_sees_no_process_but_its_own(walled):
    seen = walled.attempt("environments")
    assert "1" in seen and len(seen) < 5, list(seen)
    assert SECRET not in json.dumps(seen)


def test_it_cannot_signal_or_trace_the_server(walled):
    before = walled.pids()
    for what in ("kill", "ptrace"):
        results = walled.attempt(what, pids=before)
        assert set(results.values()) == {"ESRCH"}, (what, results)
    assert walled.pids() == before and walled.is_ready()


@contextlib.contextmanager
def listeners():
    name = f"opscore-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0" + name)
        abstract.listen()
        yield {"port": tcp.getsockname()[1], "abstract": name}


def test_it_has_no_network(walled):
    with listeners() as targets:
        results = walled.attempt("connect", **targets)
        assert results.pop("interfaces") == ["lo"]
        assert "done" not in results.values(), results


def test_with_network_it_has(walled):
    with listeners() as targets:
        results = walled.attempt("connect", actor="online", **targets)
    assert results["tcp"] == "done", results
    assert results["abstract"] == "done", "as documented: sockets of the network namespace"


def test_a_fork_bomb_is_bounded_and_leaves_nothing(walled):
    started = walled.attempt("fork", processes=300)
    if "each run is a cgroup" in walled.output() and "pids" in walled.output():
        assert started < 60
    else:
        assert "no cgroups" in walled.output()
        assert started < 60 or os.geteuid() == 0 and walled.user is None, "root is not bound"
    # A bomb proper: it ends with the timeout of its task, by whatever bound it has.
    bomb = walled.rest.submit("escape", {"try": "fork", "processes": 10**9}, timeout="1s")
    assert walled.rest.wait(bomb["task_id"], timeout=120)["status"] in ("completed", "failed")
    wait_for(lambda: not running(str(walled.program)), "the bombs' processes are gone", 60)
    assert walled.is_ready()


def test_its_temporary_files_are_bounded_and_private(walled):
    for path in ("/tmp/filler", "/dev/shm/filler"):
        filled = walled.attempt("fill", path=path, most=50 << 20)
        assert filled["error"] == "ENOSPC" and filled["bytes"] <= 1 << 20, (path, filled)
        assert walled.attempt("read", paths=[path])[path] == {"error": "ENOENT"}, "it was kept"


def test_a_daemon_ends_with_its_task(walled):
    name = f"daemon-of-{os.getpid()}"
    assert walled.attempt("daemon", name=name) == "x", "it was there"
    wait_for(lambda: not running(name), "the daemon is gone", 30)


def running(words):
    """The pids of live processes with these words on their command line."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and words.encode() in (entry / "cmdline").read_bytes():
                if is_alive(int(entry.name)):
                    found.append(int(entry.name))
    return found


def test_it_has_no_privileges_and_gets_none(walled):
    found = walled.attempt("privileges")
    assert found["capabilities"] == 0 and found["no_new_privileges"] == "1"
    assert found["session"] is True
    for what in ("unshare", "remount", "sysctl", "mknod"):
        assert found[what] != "done", (what, found)


def test_it_cannot_have_the_next_run_shown_more(walled):
    """By a link in place of what another run is shown: the program of another actor."""
    tool = walled.folder / "writable" / "tool"
    assert walled.rest.run("tool")["result"] == "a tool"
    walled.attempt("link", path=str(tool), to=str(walled.secrets[-1]))
    task = walled.rest.run("tool")
    assert task["status"] == "failed", task
    assert str(walled.secrets[-1]) in task["error"]["message"], "it says where that leads now"


def test_actors_say_that_it_is_in_force(walled):
    actors = {actor["task_type"]: actor for actor in walled.rest.get("actors")["actors"]}
    assert actors["escape"]["sandbox"] == {"mode": "required", "active": True, "reason": None}
    assert actors["opscore.echo"]["sandbox"] is None


# ---------------------------------------------------------------- the same as without


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Programs that run in sandboxes, and nothing that tries to get out."""
    server = Server(tmp_path_factory.mktemp("sandboxed"))
    server.configure('[sandbox]\nmode = "required"')
    (server.folder / "out").mkdir()
    server.add_program("cat", "#!/bin/sh\ncat\n", 'output = "json"')
    server.add_program("fatal", "#!/bin/sh\necho bad data >&2\nexit 65\n")
    server.add_program("later", "#!/bin/sh\nexit 75\n")
    server.add_program("killed", "#!/bin/sh\nkill -SEGV $$\n", "max_attempts = 1")
    server.add_program("custom", "#!/bin/sh\nexit 139\n", 'exit_codes = {139 = "fatal"}')
    server.add_program("endless", "#!/bin/sh\nyes\n", 'result_max = "64KiB"')
    server.add_program("environment", "#!/bin/sh\nenv\n", 'env = {MINE = "yes"}')
    server.add_program(
        "polite",
        """
        #!/bin/sh
        trap 'echo asked > out/asked; exit 3' TERM
        touch out/ready
        while :; do sleep 0.05; done
        """,
        'write = ["out"]\nmax_attempts = 1\nstop_grace = "60s"',
    )
    server.add_program(
        "stubborn",
        f"""
        #!/bin/sh
        trap '' TERM
        setsid sh -c 'trap "" TERM; while :; do sleep 1; done' {STUBBORN} &
        touch out/ready
        while :; do sleep 1; done
        """,
        'write = ["out"]\nmax_attempts = 1\nstop_grace = "200ms"',
    )
    try:
        yield server.start(timeout=60)
    finally:
        server.clean_up()


@needs_sandbox
def test_results_and_exit_codes_are_as_without(programs):
    rest = programs.rest
    value = {"text": "é\u0001", "list": [1, 2.5, None]}
    assert rest.run("cat", value)["result"] == value
    fatal = rest.run("fatal")
    assert (fatal["status"], fatal["attempts"]) == ("failed", 1)
    assert fatal["error"]["message"] == "exit code 65" and "bad data" in fatal["error"]["detail"]
    assert rest.wait(rest.submit("later")["task_id"], "scheduled")["attempts"] == 0
    assert rest.run("killed")["error"]["message"] == "killed by SIGSEGV"
    assert rest.run("custom")["attempts"] == 1
    assert rest.run("endless")["error"]["kind"] == "result_too_large"
    lines = rest.run("environment")["result"].splitlines()
    own = {"PWD", "SHLVL", "_", "OLDPWD"}
    names = {line.split("=", 1)[0] for line in lines} - own
    assert names <= {"PATH", "HOME", "LANG", "TZ", "MINE", "OPSCORE_TASK_ID", "OPSCORE_ATTEMPT"}


@needs_sandbox
def test_whole_trees_can_be_named_and_tmp_stays_private(new_server):
    server = new_server()
    (server.folder / "sub").mkdir()
    look = "#!/bin/sh\nls -A /tmp >&2; cat opscore.toml\n"
    server.add_program("everything", look, f'read = ["/"]\n{REQUIRED}max_attempts = 1')
    etc = 'read = ["/etc", "/usr/", "sub", "sub/.."]\n'
    server.add_program("etc", look, f"{etc}{REQUIRED}max_attempts = 1")
    server.add_program("tmp", look, f'cwd = "/tmp"\n{REQUIRED}max_attempts = 1')
    server.start(timeout=60)
    for name in ("everything", "etc", "tmp"):
        task = server.rest.run(name)
        assert task["status"] == "failed", task
        lines = task["error"]["detail"].splitlines()
        shown = [line for line in lines if not line.startswith("cat: opscore.toml: ")]
        way_to_itself = {server.folder.parts[2]}  # when the test runs in /tmp
        assert len(lines) == len(shown) + 1 and not set(shown) - way_to_itself, lines


@needs_sandbox
def test_the_memory_of_a_run_is_bounded_as_a_whole(new_server):
    server = new_server()
    fill = "#!/bin/sh\nhead -c 200000000 /dev/zero >/tmp/filler\n"
    options = 'tmp_max = "512MiB"\nlimits = {memory = "64MiB"}\nmax_attempts = 1\n'
    server.add_program("fill", fill, options + REQUIRED)
    server.start(timeout=60)
    words = next(line for line in server.output().splitlines() if line.startswith("  sandbox "))
    task = server.rest.run("fill", within=60)
    if "each run is a cgroup" in words and "memory" in words:
        assert task["error"]["message"] == "killed by SIGKILL", "out of memory"
    else:
        assert task["status"] == "completed" and "no cgroups" in words


@needs_sandbox
@pytest.mark.parametrize("ended_by", ["timeout", "cancel"])
def test_it_is_asked_to_stop_before_it_is_killed(programs, ended_by):
    (programs.folder / "out/asked").unlink(missing_ok=True)
    task = end(programs, "polite", ended_by)
    assert task["error"]["kind"] == ("timeout" if ended_by == "timeout" else "cancelled")
    assert (programs.folder / "out/asked").exists(), task


@needs_sandbox
@pytest.mark.parametrize("ended_by", ["timeout", "cancel"])
def test_all_of_it_is_killed(programs, ended_by):
    end(programs, "stubborn", ended_by)
    wait_for(lambda: not running(STUBBORN), lambda: f"gone: {running(STUBBORN)}", 30)


def end(server, actor, ended_by):
    """Ends the task once its program is ready for it."""
    ready = server.folder / "out" / "ready"
    ready.unlink(missing_ok=True)
    if ended_by == "cancel":
        task_id = server.rest.submit(actor)["task_id"]
        wait_for(ready.exists, "it is ready", 60)
        server.rest.expect(202, "POST", f"tasks/{task_id}/cancel")
        return server.rest.wait(task_id, timeout=90)
    for timeout in ("1s", "10s", "60s"):  # the first is enough unless the machine is very slow
        task = server.rest.wait(server.rest.submit(actor, timeout=timeout)["task_id"], timeout=150)
        if ready.exists():
            return task
    raise AssertionError("it did not get ready within a minute")


@needs_sandbox
def test_a_tool_of_an_agent_runs_in_its_sandbox(new_server):
    server = new_server()
    server.add_program("look", "#!/bin/sh\nls /proc | grep -c '^[0-9]'; ls /root\n", REQUIRED)
    turns = [{"tool_calls": [{"name": "look", "arguments": {}}]}, {"text": "{{last_tool_result}}"}]
    (server.folder / "rehearsal.json").write_text(json.dumps({"turns": turns}))
    server.configure(
        '[agent]\nprovider = "rehearsal"\n'
        '[agent.providers.rehearsal]\nkind = "scripted"\nscript = "rehearsal.json"'
    )
    server.start(timeout=60)
    task = server.rest.run("agent_task", {"prompt": "look around"}, within=60)
    assert task["status"] == "completed", task
    assert int(task["result"]["answer"].split()[0]) <= 6, "it saw the server's processes"


@needs_sandbox
def test_an_interrupted_server_takes_the_sandbox_with_it(new_server):
    server = new_server()
    seconds = f"98{os.getpid()}"  # to be told from other sleepers
    server.add_program("stay", f"#!/bin/sh\nexec sleep {seconds}\n", REQUIRED)
    server.start(timeout=60)
    server.rest.wait(server.rest.submit("stay")["task_id"], "running")
    wait_for(lambda: running("sleep\0" + seconds), "the program runs", 60)
    server.kill()
    wait_for(lambda: not running("sleep\0" + seconds), "the program is gone", 30)
