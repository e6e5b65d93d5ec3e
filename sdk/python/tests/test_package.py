"""The package as others get it: typed, complete, and on every Python that is here."""

import glob
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from conftest import SDK

SMOKE = """
import asyncio, sys
import opscore, opscore.testing
with opscore.testing.server() as server:
    assert server.client.run("opscore.echo", {"n": 1}, wait=20) == {"n": 1}
    task = server.client.submit("opscore.noop")
    assert [e.kind for e in server.client.events(task.task_id)][-1] == "completed"
    async def main():
        async with opscore.AsyncClient(server.url) as client:
            assert await client.run("opscore.echo", 2, wait=20) == 2
            task = await client.submit("opscore.noop")
            return [event.kind async for event in client.events(task.task_id)]
    assert asyncio.run(main())[-1] == "completed"
print("fine", sys.version_info[:2])
"""


def interpreters():
    """Those from 3.9 on, one of each version."""
    candidates = [sys.executable, *glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python"))]
    candidates += filter(None, (shutil.which(f"python3.{minor}") for minor in range(9, 20)))
    found = {}
    for path in candidates:
        script = "import sys; print('%d.%d' % sys.version_info[:2])"
        version = subprocess.run(
            (path, "-c", script), capture_output=True, text=True
        ).stdout.strip()
        if version and tuple(map(int, version.split("."))) >= (3, 9):
            found.setdefault(version, path)
    return found


INTERPRETERS = interpreters()


@pytest.mark.parametrize("version", sorted(INTERPRETERS, key=lambda text: int(text[2:])))
def test_it_works_on(version):
    environment = {**os.environ, "PYTHONPATH": str(SDK), "PYTHONDONTWRITEBYTECODE": "1"}
    command = (INTERPRETERS[version], "-W", "error", "-c", SMOKE)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith("fine"), done.stdout + done.stderr


def test_types_are_complete_and_right(tmp_path):
    checker = (sys.executable, "-m", "mypy")
    if subprocess.run((*checker, "--version"), capture_output=True).returncode != 0:
        assert not os.environ.get("CI"), "mypy is missing: it is in tools/packages.txt"
        pytest.skip("mypy is not installed")
    config = ("--config-file", "pyproject.toml", "--cache-dir", tmp_path)
    done = subprocess.run((*checker, *config), cwd=SDK, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    user = tmp_path / "user.py"
    user.write_text(
        "from opscore import Client\n"
        "client = Client()\n"
        "reveal_type(client.submit('t', 1, delay='1s').task_id)\n"
        "client.submit('t', 1, dealy='1s')\n"
        "client.wait(3)\n"
    )
    feature = "--enable-incomplete-feature=Unpack"
    command = (*checker, "--strict", feature, "--cache-dir", tmp_path, user)
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(SDK)},
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert any("user.py:3" in line and '"builtins.str"' in line for line in lines), done.stdout
    assert any("user.py:4: error" in line and "dealy" in line for line in lines), done.stdout
    assert any("user.py:5: error" in line for line in lines), done.stdout


def test_the_wheel_has_everything(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(
        SDK, source, ignore=shutil.ignore_patterns("tests", "__pycache__", "*.egg-info")
    )
    script = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run(
        (sys.executable, "-c", script), cwd=source, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(source / done.stdout.splitlines()[-1]) as wheel:
        packed = set(wheel.namelist())
        entry_points = next(name for name in packed if name.endswith("entry_points.txt"))
        assert b"opscore = opscore.testing.plugin" in wheel.read(entry_points)
        metadata = wheel.read(entry_points.replace("entry_points.txt", "METADATA")).decode()
    assert "Requires-Dist" not in metadata and "Requires-Python: >=3.9" in metadata
    ours = {
        path.relative_to(SDK).as_posix()
        for path in (SDK / "opscore").rglob("*")
        if path.suffix in (".py", ".typed")
    }
    assert ours <= packed and not [name for name in packed if name.startswith("tests")]
