"""The first page of the README, word for word."""

import json
import subprocess

from harness.server import BINARY, ROOT

PROMPT = '{"task_type": "agent_task", "input_data": {"prompt": "Manual debug test prompt"}}'


def curl(*arguments):
    return subprocess.run(
        ["curl", "-sS", *arguments], capture_output=True, text=True, timeout=30, check=True
    ).stdout


def test_submit_with_curl_runs_the_agent(server):
    answer = curl(
        "-i",
        *("-X", "POST", f"http://localhost:{server.port}/api/v1/tasks/"),
        *("-H", "Content-Type: application/json", "-d", PROMPT),
    )
    head, _, body = answer.replace("\r", "").partition("\n\n")
    assert head.startswith("HTTP/1.1 202"), answer
    location = next(
        line.split(": ", 1)[1] for line in head.splitlines() if line.lower().startswith("location:")
    )
    submitted = json.loads(body)
    assert submitted["task_id"].startswith("task_")
    assert submitted["status"] == "pending"
    assert location.endswith(f"/api/v1/tasks/{submitted['task_id']}")

    task = server.rest.wait(submitted["task_id"])
    assert task["status"] == "completed", task
    assert task["task_type"] == "agent_task"
    assert task["input_data"] == {"prompt": "Manual debug test prompt"}
    # No provider is configured, so the script answers, and says so.
    assert task["result"]["provider"] == "scripted"
    assert task["result"]["answer"]
    assert server.rest.send("GET", location).status == 200


def test_the_banner_says_what_runs_where(server):
    banner = server.output()
    assert f"http://localhost:{server.port}" in banner
    assert "opscore-data/opscore.db" in banner
    assert "agent_task" in banner and "opscore.echo" in banner
    assert "curl" in banner
    assert "scripted" in banner


def test_the_example_configuration_counts_words(new_server):
    server = new_server()
    server.start("--config", ROOT / "opscore.toml", "--port", server.port)
    readme = ROOT / "README.md"
    done = server.cli(
        *("submit", "shell.word_count", "--input", f"@{readme}", "--wait"),
        *("--url", f"http://127.0.0.1:{server.port}"),
    )
    assert done.returncode == 0, done.stderr
    words = len(readme.read_text().split())
    assert str(words) in done.stdout
    listed = server.cli(
        "tasks", "list", "--status", "failed", "--url", f"http://127.0.0.1:{server.port}"
    )
    assert listed.returncode == 0, listed.stderr


def test_ports_and_routes_that_monitors_use(shared):
    assert shared.rest.send("GET", "/health").status == 200
    assert shared.rest.send("GET", "/ready").status == 200
    metrics = shared.rest.send("GET", "/metrics")
    assert metrics.status == 200 and b"# TYPE" in metrics.body
    document = shared.rest.expect(200, "GET", "/openapi.json")
    assert document["openapi"].startswith("3.")


def test_version_names_the_build():
    done = subprocess.run([BINARY, "version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "opscore" in done.stdout
