"""The examples for Python, as they stand in examples/."""

import os
import subprocess
import sys

from conftest import ROOT, SDK

EXAMPLES = ROOT / "examples"


def test_the_minimal_worker_and_its_test():
    done = subprocess.run(
        (sys.executable, "-m", "pytest", "-q", "-p", "opscore.testing.plugin")
        + ("-p", "no:cacheprovider", "test_minimal_worker.py"),
        cwd=EXAMPLES,
        env={**os.environ, "PYTHONPATH": str(SDK), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_both_are_as_short_as_is_said():
    for name in ("minimal_worker.py", "test_minimal_worker.py"):
        assert len((EXAMPLES / name).read_text().splitlines()) <= 10
