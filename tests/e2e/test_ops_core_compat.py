"""Answers as clients of ops-core expect them; docs/howto/ops-core-compat.md."""

import json
import re
import subprocess
import sys

import pytest

from harness.raw import ask, request
from harness.server import PLAIN_ENVIRONMENT, ROOT

LOCUST = "locust==2.32.4"


@pytest.fixture
def rest(new_server):
    server = new_server()
    server.configure('[api]\ncompat = "ops-core"')
    return server.start().rest


def test_submits_answer_201(rest):
    answer = rest.send("POST", "tasks", {"task_type": "opscore.echo", "input_data": 1})
    assert answer.status == 201
    assert answer.headers["Location"].endswith(answer.json()["task_id"])
    rest.expect(201, "POST", "tasks/batch", [{"task_type": "opscore.noop"}])
    rest.expect(201, "POST", "tasks/batch?atomic=false", [{"task_type": "opscore.noop"}])
    rest.expect(201, "POST", "tasks?wait=10ms", {"task_type": "opscore.noop", "delay": "1h"})
    echo = {"task_type": "opscore.echo", "input_data": 2}
    done = rest.expect(200, "POST", "tasks?wait=60s", echo)
    assert done["output_data"] == done["result"] == 2
    keyed = {"task_type": "opscore.noop", "idempotency_key": "k"}
    rest.expect(201, "POST", "tasks", keyed)
    rest.expect(200, "POST", "tasks", keyed)


def test_tasks_carry_output_data(rest):
    done = rest.wait(rest.submit("opscore.echo", {"n": [1, None]}, status=201)["task_id"])
    assert done["output_data"] == {"n": [1, None]} == done["result"]
    later = rest.submit("opscore.noop", status=201, delay="1h")["task_id"]
    assert rest.task(later)["output_data"] is None
    assert all("output_data" in task for task in rest.get("tasks")["tasks"])


def total(rest, query=""):
    page = rest.get(f"tasks?limit=2{query}")
    assert len(page["tasks"]) <= 2
    return page["total"], page["total_exact"]


def test_lists_carry_a_total(rest):
    later = {"task_type": "opscore.noop", "delay": "1h"}
    batch = [{**later, "labels": {"n": str(n)}} for n in range(7)]
    rest.expect(201, "POST", "tasks/batch", batch)
    rest.expect(201, "POST", "tasks", {**later, "queue": "b"})
    ends = [rest.submit("opscore.noop", status=201)["task_id"] for _ in range(3)]
    for task_id in ends:
        rest.wait(task_id)
    assert total(rest) == (11, True)
    assert total(rest, "&status=scheduled") == (8, True)
    assert total(rest, "&status=scheduled,completed") == (11, True)
    assert total(rest, "&queue=b") == (1, True)
    assert total(rest, "&queue=default&status=completed") == (3, True)
    assert total(rest, "&queue=none") == (0, True)
    # The counters know nothing of labels and types: the page has all of them, or it is a bound.
    assert total(rest, "&label=n:3") == (1, True)
    assert total(rest, "&task_type=opscore.noop&status=scheduled") == (8, False)
    rest.expect(204, "DELETE", f"tasks/{ends[0]}")
    assert total(rest, "&status=completed") == (2, True)
    cursor = rest.get("tasks?limit=2")["next_cursor"]
    assert total(rest, f"&cursor={cursor}") == (10, True)


def test_without_it_nothing_changes(server):
    assert server.rest.submit("opscore.noop", status=202)
    assert "total" not in server.rest.get("tasks")
    assert "output_data" not in server.rest.get("tasks")["tasks"][0]


def test_an_unknown_mode_is_refused(new_server):
    server = new_server()
    server.configure('[api]\ncompat = "opscore"')
    assert server.launch().wait(30) == 2
    assert "ops-core" in server.output()


def test_browsers_are_kept_out_here_too(rest):
    assert ask(rest.port, request("POST", "/api/v1/tasks", b"{}", host="evil.example"))[0] == 403


@pytest.fixture(scope="module")
def locust(tmp_path_factory):
    """Locust from PyPI, in an environment that is thrown away."""
    folder = tmp_path_factory.mktemp("venv")

    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, (
            f"cannot install {LOCUST} from PyPI, which needs python3-venv and a network: "
            f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )

    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "pip", "install", "--quiet", "--no-cache-dir", LOCUST)
    return folder / "bin" / "locust"


def test_the_locust_file_runs_without_a_failure(rest, locust, tmp_path):
    done = subprocess.run(
        [
            *[locust, "--locustfile", ROOT / "examples" / "ops-core" / "locustfile.py"],
            *["--host", f"http://localhost:{rest.port}", "--headless", "--json"],
            *["--users", "5", "--spawn-rate", "5", "--run-time", "4s", "--stop-timeout", "60s"],
        ],
        cwd=tmp_path,
        env=PLAIN_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    stats = {row["name"]: row for row in json.loads(done.stdout[done.stdout.index("[") :])}
    assert stats["/api/v1/tasks/"]["num_requests"] > 0
    assert stats["/api/v1/tasks/{task_id}"]["num_requests"] > 0
    assert not any(row["num_failures"] for row in stats.values()), stats
    assert rest.get("tasks?status=completed")["total"] > 0


def test_the_guide_runs(rest):
    """Every curl line of the guide, against this server."""
    guide = (ROOT / "docs" / "howto" / "ops-core-compat.md").read_text()
    lines = re.findall(r"^    (curl .*)$", guide, re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        command = line.replace("localhost:8000", f"localhost:{rest.port}")
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        if "%{http_code}" in line:
            assert done.stdout.endswith("201"), f"{command}: {done.stdout}"
        else:
            assert {"total", "output_data"} & set(json.loads(done.stdout)), done.stdout
