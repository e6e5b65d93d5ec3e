"""The services of `./dev services` that tests need; see tools/services.sh."""

import os
import pathlib
import subprocess

import pytest

from harness.server import ROOT

SCRIPT = ROOT / "tools" / "services.sh"


class Services:
    """Those of a folder. Stopped, a service keeps its data and its port until the end."""

    def __init__(self, folder, environment=None):
        self.folder = pathlib.Path(folder)
        self.environment = {
            **os.environ,
            "OPSCORE_SERVICES": str(folder),
            **(environment or {}),
        }

    def call(self, *arguments):
        return subprocess.run(
            [SCRIPT, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def start(self, name):
        done = self.call("start", name)
        assert done.returncode == 0, f"start {name}: {done.stdout}{done.stderr}"

    def halt(self, name):
        """As if it had crashed."""
        done = self.call("halt", name)
        assert done.returncode == 0, f"halt {name}: {done.stdout}{done.stderr}"

    def env(self):
        return dict(line.split("=", 1) for line in self.call("env").stdout.splitlines())


def provide(services, name):
    """Has it started; where it is not installed tests are skipped, in CI they fail."""
    done = services.call("start", name)
    if done.returncode == 0:
        return
    words = f"no {name}: {done.stdout}{done.stderr}"
    if "is not installed" in words and not os.environ.get("CI"):
        pytest.skip(words)
    pytest.fail(words)
