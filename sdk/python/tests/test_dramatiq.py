"""Runs with_dramatiq/ under each of Dramatiq's versions, from PyPI, below build/."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, SDK

VERSIONS = ("1.17.0", "2.0.0", "2.2.1")
CASES = pathlib.Path(__file__).parent / "with_dramatiq"


def run(*command, timeout=300, **options):
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, **options
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"


def environment_with(version):
    """A virtual environment with that Dramatiq and the system's pytest; kept for the next run."""
    folder = ROOT / "build" / f"dramatiq-{version}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        run(sys.executable, "-m", "venv", "--system-site-packages", folder)
        run(folder / "bin/pip", "install", "--quiet", f"dramatiq=={version}")
        (folder / "complete").touch()
    return folder / "bin/python"


@pytest.mark.parametrize("cases", ["broker_cases.py", "middleware_cases.py"])
@pytest.mark.parametrize("version", VERSIONS)
def test_with(version, cases):
    python = environment_with(version)
    surroundings = {**os.environ, "PYTHONPATH": str(SDK)}
    surroundings.pop("PYTEST_CURRENT_TEST", None)
    command = (python, "-m", "pytest", "-q", "-p", "opscore.testing.plugin", cases)
    run(*command, cwd=CASES, env=surroundings)
