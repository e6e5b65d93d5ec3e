"""An ordinary worker of the real Dramatiq, with what a test has it run."""

import signal
import subprocess
import textwrap

from harness.dramatiq import NEWEST, installed
from harness.processes import kill_quietly, processes_below
from harness.server import PLAIN_ENVIRONMENT, ROOT
from harness.waiting import wait_for


class DramatiqWorker:
    """`python -m dramatiq app` with one process, in a folder of its own."""

    def __init__(self, folder, source, environment, version=NEWEST):
        self.folder, self.python = folder, installed(version)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "app.py").write_text(textwrap.dedent(source))
        self.log = self.folder / "worker.log"
        self.environment = {
            **PLAIN_ENVIRONMENT,
            "PYTHONPATH": f"{ROOT / 'sdk' / 'python'}",
            **environment,
        }
        self.process = None

    def start(self, *arguments):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", "dramatiq", "app", "-p", "1", "-t", "4", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_for_words("is ready for action")
        return self

    def wait_for_words(self, words, timeout=60):
        def look():
            assert self.process.poll() is None, f"the worker ended early:\n{self.output()}"
            return words in self.output()

        wait_for(look, lambda: f"'{words}' in\n{self.output()}", timeout)

    def output(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, timeout=60):
        """Ends it in good order; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def clean_up(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in processes_below(self.folder):
            kill_quietly(pid)

    def run(self, source):
        """What a producer prints that runs this with `app` imported."""
        done = subprocess.run(
            [self.python, "-c", "import app\n" + textwrap.dedent(source)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
