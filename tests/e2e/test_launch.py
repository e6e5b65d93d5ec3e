"""Started however you like: in every cell 1,000 tasks are run, or it ends within 2 s and says why.

All cells run at once, a few at a time, when the first test asks for one; the table of what came of
them is in docs/reliability.md. UPDATE_DOCS=1 writes it.
"""

import concurrent.futures
import dataclasses
import fcntl
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import uuid

import pytest

from harness.cluster import Cluster, psql
from harness.dramatiq import NEWEST, installed
from harness.processes import kill_quietly
from harness.rabbitmq import RabbitMq
from harness.rest import Rest
from harness.server import BINARY, PLAIN_ENVIRONMENT, ROOT, free_port
from harness.services import provide
from harness.waiting import wait_for

LAUNCHER = ROOT / "tests" / "harness" / "launcher.py"
RELIABILITY = ROOT / "docs" / "reliability.md"
TASKS = 1000
AT_ONCE = 5
ENDS_WITHIN_S = 2
AWAY = "postgresql://127.0.0.1:1/other"
PROGRAMS = ("up", "worker", "dramatiq")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One way to start a process. `under` runs the command, `launch` is for the launcher."""

    name: str
    under: tuple = ()
    stdio: str = "file"
    environment: object = dataclasses.field(default_factory=lambda: dict(PLAIN_ENVIRONMENT))
    launch: dict = dataclasses.field(default_factory=dict)
    cwd: str = ""  # "", "deleted", "other", "other database", or a path
    popen: dict = dataclasses.field(default_factory=dict)
    arguments: tuple = ()
    refuses: str = ""  # the reason that it gives; empty: it works
    keeps_last_words: bool = False  # in the store, too


def full():
    return dict(os.environ)


EMPTY_VALUES = {
    **PLAIN_ENVIRONMENT,
    **dict.fromkeys(
        ("DATABASE_URL", "RABBITMQ_URL", "REDIS_URL", "OPSCORE_URL", "OPSCORE_LOG_LEVEL", "LANG"),
        "",
    ),
}
PROXIES = {
    **PLAIN_ENVIRONMENT,
    **dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
        "http://127.0.0.1:1",
    ),
}
UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
CELLS = (
    # From where.
    Cell("a shell's child", stdio="inherited"),
    Cell("`sh -c`", under=("sh", "-c", 'exec "$@"', "sh")),
    Cell("`sh -c`, which stays", under=("sh", "-c", '"$@"; exit $?', "sh")),
    Cell("`nohup`", under=("nohup",)),
    Cell("`setsid`", under=("setsid", "--wait")),
    Cell("`env -i`", under=("env", "-i")),
    Cell("`timeout 100`", under=("timeout", "100")),
    Cell("`tox exec -e py --`", under=("TOX",)),
    Cell("`dotenv run --`", under=("DOTENV",), cwd="other"),
    Cell("PID 1 of a PID namespace", under=UNSHARE),
    Cell("forked twice, without a terminal", launch={"fork_twice": True}),
    # `subprocess.Popen`: what it is connected to.
    Cell("all three pipes, never read", stdio="pipe"),
    Cell("all three `DEVNULL`", stdio="devnull"),
    Cell("all three closed", stdio="file", launch={"close": [0, 1, 2]}),
    Cell("stdin closed", launch={"close": [0]}),
    Cell("stderr closed", launch={"close": [2]}),
    Cell("stdout and stderr `/dev/full`", stdio="full"),
    Cell("pipes whose reader is gone", stdio="broken"),
    # Its environment.
    Cell("an empty environment", environment={}),
    Cell("the environment of the tests", environment=full),
    Cell("empty values", environment=EMPTY_VALUES),
    Cell("`DRAMATIQ_TESTING=1`", environment={**PLAIN_ENVIRONMENT, "DRAMATIQ_TESTING": "1"}),
    Cell("proxies", environment=PROXIES),
    Cell(
        "`LANG=tlh_KL.UTF-8`, `TZ=Mars/Olympus`",
        environment={**PLAIN_ENVIRONMENT, "LANG": "tlh_KL.UTF-8", "TZ": "Mars/Olympus"},
    ),
    # Its working directory.
    Cell("in `/`", cwd="/"),
    Cell("in a deleted folder", cwd="deleted"),
    Cell("in a folder that cannot be written", cwd="/proc"),
    Cell("in another project with its `.env`", cwd="other"),
    Cell(
        "in another project whose `.env` names its database",
        cwd="other database",
        arguments=("--require-store",),
        refuses=r"127\.0\.0\.1:1.*refused|refused.*127\.0\.0\.1:1|port 1",
    ),
    # The process.
    Cell("`start_new_session`", popen={"start_new_session": True}),
    Cell("`close_fds=False`", popen={"close_fds": False}),
    Cell("SIGPIPE ignored", launch={"ignore": ["SIGPIPE"]}),
    Cell("SIGTERM and SIGINT blocked", launch={"block": ["SIGTERM", "SIGINT"]}),
    Cell("SIGTERM ignored", launch={"ignore": ["SIGTERM"]}),
    Cell("SIGCHLD blocked", launch={"block": ["SIGCHLD"]}),
    Cell("SIGCHLD ignored", launch={"ignore": ["SIGCHLD"]}),
    Cell("64 open files", launch={"open_files": 64}),
    Cell("`umask 077`", launch={"umask": 0o077}),
    # Mistakes.
    Cell("an unknown setting", arguments=("--no-such-flag",), refuses="no-such-flag"),
    Cell(
        "a log file that cannot be written",
        arguments=("--log-file", "/proc/none/log"),
        refuses="/proc/none/log",
    ),
    Cell(
        "a `--ready-fd` that is not open",
        arguments=("--ready-fd", "77"),
        refuses="--ready-fd 77: it is not open",
        keeps_last_words=True,
    ),
)
NAMES = [cell.name for cell in CELLS]

APP = """
import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

broker = RabbitmqBroker(url="{url}")
dramatiq.set_broker(broker)

@dramatiq.actor(actor_name="work_{name}", queue_name="{name}")
def work(value=None):
    return value
"""


@functools.cache
def launchers():
    """Where `tox` and `dotenv` of PyPI are: those of Debian have neither `exec` nor `run`."""
    folder = ROOT / "build" / "launchers"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "bin" / "dotenv").exists():
            wanted = ("tox==4.23.2", "python-dotenv[cli]==1.0.1")
            for command in (
                [sys.executable, "-m", "venv", folder],
                [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted],
            ):
                subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder / "bin"


class Site:
    """What the processes of a run share: PostgreSQL, RabbitMQ, an API, maintenance."""

    def __init__(self, folder, database, rabbitmq):
        self.folder, self.rabbitmq = folder, rabbitmq
        self.cluster = Cluster(
            folder,
            database,
            f"launch_{uuid.uuid4().hex[:12]}",
            environment={"RABBITMQ_URL": rabbitmq.url},
        ).migrate()
        self.api = self.cluster.api()
        self.cluster.maintenance()

    def close(self):
        self.cluster.clean_up()
        psql(self.cluster.url, f'DROP SCHEMA IF EXISTS "{self.cluster.schema}" CASCADE')


class Run:
    """A cell with one of the programs."""

    def __init__(self, cell, program, site):
        self.cell, self.program, self.site = cell, program, site
        self.name = f"{program}_{NAMES.index(cell.name)}"
        self.folder = site.folder / self.name
        self.folder.mkdir()
        self.log = self.folder / "log"
        self.port = free_port()
        self.process = None
        self.ends = []  # of pipes, to be kept open
        self.rest = Rest(self.port) if program == "up" else site.api.rest

    def outcome(self):
        """What came of it, in the words of the table."""
        began = time.monotonic()
        try:
            self.start()
            if self.cell.refuses:
                return self.refusal(began)
            self.run_tasks()
            self.stop()
            return "1,000 tasks"
        finally:
            self.clean_up()

    # How it is started.

    def start(self):
        self.write_config()
        cwd = self.make_cwd()
        launch = {
            "command": [str(word) for word in self.command()],
            "environment": self.environment(),
            "cwd": str(cwd),
            "remove_cwd": self.cell.cwd == "deleted",
            **self.cell.launch,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", LAUNCHER, json.dumps(launch)],
            **self.stdio(),
            **self.cell.popen,
        )
        for fd in self.ends[self.ends_kept :]:
            os.close(fd)
        del self.ends[self.ends_kept :]

    def environment(self):
        wanted = self.cell.environment
        environment = wanted() if callable(wanted) else dict(wanted)
        # Nothing of the run's own services; and what the programs around need to be found.
        for name in ("DATABASE_URL", "RABBITMQ_URL", "REDIS_URL", "OPSCORE_SERVICES"):
            if environment.get(name):
                del environment[name]
        return environment

    def command(self):
        arguments = ["--config", self.folder / "opscore.toml"]
        # Where stderr is peculiar, the log goes there.
        if self.cell.stdio == "file" and "--log-file" not in self.cell.arguments:
            arguments += ["--log-file", self.log]
        if self.program == "dramatiq":
            arguments += ["app:broker", "-p", "1", "-t", "4", "-P", self.folder]
        return [*self.under(), BINARY, self.program, *arguments, *self.cell.arguments]

    def under(self):
        if self.cell.under == ("TOX",):
            project = ("--root", self.folder, "--conf", self.folder / "tox.ini")
            return launchers() / "tox", "exec", "-qq", *project, "-e", "py", "--"
        if self.cell.under == ("DOTENV",):
            return launchers() / "dotenv", "-f", self.folder / "other" / ".env", "run", "--"
        return self.cell.under

    def write_config(self):
        lines = ["[log]", 'level = "debug"']
        if self.program == "up":
            lines += ["[server]", f"port = {self.port}", "[store]", f'path = "{self.folder}/data"']
        else:
            cluster = self.site.cluster
            lines += ["[store]", f'url = "{cluster.url}"', f'schema = "{cluster.schema}"']
            lines += ["[broker]", f'url = "{self.site.rabbitmq.url}"']
            lines += ["[worker]", f'queues = ["{self.name}"]']
        if self.program == "dramatiq":
            lines += ["[python]", f'interpreter = "{installed(NEWEST)}"']
            app = APP.format(url=self.site.rabbitmq.url, name=self.name)
            (self.folder / "app.py").write_text(app)
        (self.folder / "opscore.toml").write_text("\n".join(lines) + "\n")
        tox_ini = "[tox]\n[testenv]\nskip_install = true\nallowlist_externals = *\n"
        (self.folder / "tox.ini").write_text(tox_ini)

    def make_cwd(self):
        if self.cell.cwd.startswith("/"):
            return self.cell.cwd
        cwd = self.folder / (self.cell.cwd.split()[0] if self.cell.cwd else "cwd")
        cwd.mkdir()
        if self.cell.cwd.startswith("other"):
            text = "DEBUG=true\nSECRET_KEY='a b'\nPORT=9\nexport STAGE=dev\n"
            if self.cell.cwd == "other database":
                text += f"DATABASE_URL={AWAY}\n"
            (cwd / ".env").write_text(text)
        return cwd

    def stdio(self):
        """Arguments of Popen. The first `ends_kept` of `ends` stay open until the end."""
        self.ends_kept = 0
        if self.cell.stdio == "inherited":
            return {}
        if self.cell.stdio == "devnull":
            return dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        if self.cell.stdio in ("pipe", "broken"):
            reading, out = os.pipe()
            stdin, writing = os.pipe()
            self.ends = [writing, reading, stdin, out]
            self.ends_kept = 2 if self.cell.stdio == "pipe" else 0
            return {"stdin": stdin, "stdout": out, "stderr": out}
        if self.cell.stdio == "full":
            full_device = os.open("/dev/full", os.O_RDWR)
            self.ends = [full_device]
            return dict.fromkeys(("stdin", "stdout", "stderr"), full_device)
        out = os.open(self.folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        stdin = os.open(self.folder / "opscore.toml", os.O_RDONLY)
        self.ends = [out, stdin]
        return {"stdin": stdin, "stdout": out, "stderr": out}

    # What comes of it.

    def run_tasks(self):
        task_type = f"work_{self.name}" if self.program == "dramatiq" else "opscore.noop"
        batch = [{"task_type": task_type, "queue": self.name, "input_data": None}] * TASKS
        if self.program == "dramatiq":
            batch = [{**task, "input_data": {"args": [1], "kwargs": {}}} for task in batch]

        def submitted():
            try:
                answer = self.rest.send("POST", "tasks/batch", batch)
            except OSError:
                return False
            assert answer.status in (202, 422), answer
            return answer.status == 202

        wait_for(submitted, lambda: f"1,000 tasks are accepted; {self.words()}", 40)
        wait_for(
            lambda: (self.rest.queue(self.name) or {}).get("completed") == TASKS,
            lambda: f"1,000 tasks are done: {self.rest.queue(self.name)}; {self.words()}",
            40,
        )

    def refusal(self, began):
        code = self.process.wait(ENDS_WITHIN_S + 3)
        took = time.monotonic() - began
        assert code != 0
        assert took < ENDS_WITHIN_S, f"it took {took:.1f} s"
        sinks = {"stderr": self.output()}
        if "--log-file" not in self.cell.arguments and "--no-such-flag" not in self.cell.arguments:
            sinks["log file"] = self.log.read_text()
        for sink, text in sinks.items():
            assert re.search(self.cell.refuses, text), f"no reason in {sink}: {text}"
        if self.cell.keeps_last_words and self.program != "up":
            ended = self.rest.get("workers?ended_within=1h")["workers"]
            assert any(re.search(self.cell.refuses, each["last_words"] or "") for each in ended)
        return f"exit code {code}, with the reason"

    def stop(self):
        """SIGTERM ends it in good order, whatever the parent did about that signal."""
        pids = self.pids()
        assert pids, "it is not there any more"
        os.kill(pids[0], signal.SIGTERM)
        wait_for(lambda: not self.pids(), lambda: f"it has ended; {self.words()}", 20)

    def pids(self):
        """Of the processes of opscore that were started here, the supervisor first."""
        found = []
        mark = str(self.folder / "opscore.toml").encode()
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if words[0] == os.fsencode(BINARY) and mark in words and state not in "ZX":
                found.append(int(entry.name))
        return sorted(found)

    def output(self):
        path = self.folder / "output"
        return path.read_text(errors="replace") if path.exists() else ""

    def words(self):
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"output: {self.output()[-3000:]}\nlog: {log[-3000:]}"

    def clean_up(self):
        for pid in self.pids():
            kill_quietly(pid)
        if self.process:
            self.process.kill()
            self.process.wait()
        for fd in self.ends[: self.ends_kept]:
            os.close(fd)


@pytest.fixture(scope="module")
def outcomes(services, tmp_path_factory):
    """Of every cell and program: the words of the table, or the failure."""
    provide(services, "postgres")
    provide(services, "rabbitmq")
    rabbitmq = RabbitMq(services)
    installed(NEWEST), launchers()
    site = Site(tmp_path_factory.mktemp("launch"), services.env()["DATABASE_URL"], rabbitmq)
    pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
    found = {}
    # What is to end soon is not kept from it by the others.
    for cell in sorted(CELLS, key=lambda cell: not cell.refuses):
        for program in PROGRAMS:
            found[cell.name, program] = pool.submit(Run(cell, program, site).outcome)
            if cell.refuses:
                concurrent.futures.wait([found[cell.name, program]])
    yield found
    pool.shutdown(cancel_futures=True)
    site.close()
    rabbitmq.close()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("cell", CELLS, ids=NAMES)
def test_it_works_or_says_why(outcomes, cell, program):
    words = outcomes[cell.name, program].result(timeout=200)
    assert words == "1,000 tasks" or cell.refuses, words


def test_the_table_is_what_came_of_it(outcomes):
    titles = " | ".join(f"`opscore {each}`" for each in PROGRAMS)
    rows = [f"| started | {titles} |", "|---|---|---|---|"]
    for name in NAMES:
        words = [outcomes[name, program].result(timeout=200) for program in PROGRAMS]
        rows.append(f"| {name} | {' | '.join(words)} |")
    table = "\n".join(rows)
    text = RELIABILITY.read_text(encoding="utf-8")
    if os.environ.get("UPDATE_DOCS"):
        begin, end = "<!-- launch matrix -->\n", "\n<!-- end -->"
        before, _, rest = text.partition(begin)
        after = rest.partition(end)[2]
        RELIABILITY.write_text(before + begin + table + end + after, encoding="utf-8")
        return
    assert table in text, "run it with UPDATE_DOCS=1"
