"""The commands that docs/operations.md shows for bulk jobs and backups, as they stand there."""

import re
import subprocess

import pytest

from harness.server import BINARY, ROOT

TEXT = (ROOT / "docs" / "operations.md").read_text()


def examples(heading):
    section = re.search(rf"^## {heading}$(.*?)(?=^## )", TEXT, re.MULTILINE | re.DOTALL).group(1)
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def run(server, line):
    shell = f'opscore() {{ "{BINARY}" "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", shell],
        cwd=server.folder,
        env=server.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_bulk_jobs(new_server):
    server = new_server()
    rest = server.start().rest
    failed = {"message": "no", "retryable": False}
    rest.run("opscore.fail", failed)
    rest.submit("opscore.noop", delay="1h", labels={"customer": "42"})
    lines = examples("Bulk jobs")
    assert len(lines) >= 6
    for line in lines:
        done = run(server, line)
        assert done.returncode == 0, (line, done)
    assert rest.get("tasks?label=customer:42")["tasks"][0]["status"] == "cancelled"
    assert (server.folder / "failed.ndjson").exists()


def test_backup_and_restore(new_server):
    server = new_server()
    task_id = server.start().rest.run("opscore.echo", 1)["task_id"]
    (server.folder / "backup").mkdir()
    lines = examples("Backup and restore")
    assert [line.split()[1] for line in lines] == ["backup", "restore", "up"]
    done = run(server, lines[0])
    assert done.returncode == 0, done
    server.stop()
    done = run(server, lines[1])
    assert done.returncode == 0, done
    assert server.start().rest.task(task_id)["result"] == 1


@pytest.mark.parametrize("heading", ["Bulk jobs", "Backup and restore"])
def test_every_example_is_a_command(heading):
    assert all(line.startswith("opscore ") for line in examples(heading))
