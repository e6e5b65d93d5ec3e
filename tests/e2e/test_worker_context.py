"""Where a worker runs: what is kept of that, what differs from another, and no secret."""

import json
import os
import subprocess

from harness.server import BINARY
from harness.terminal import Terminal
from harness.waiting import wait_for


def context_of(server, worker="worker-1"):
    return server.rest.get(f"workers/{worker}")["context"]


def is_described(server, worker="worker-1"):
    try:
        answer = server.rest.send("GET", f"workers/{worker}")
    except OSError:
        return False
    return answer.status == 200 and "build_id" in answer.json()["context"]


def test_a_worker_says_where_it_runs(new_server):
    given = {"LANG": "C.UTF-8", "TZ": "Asia/Tokyo", "OTHER": "x", "NONE": ""}
    server = new_server(environment=given)
    (server.folder / ".env").write_text("OPSCORE_LOG_LEVEL=info\n")
    server.start("--slots", "3")
    context = context_of(server)
    assert context["role"] == "up" and context["executable"] == str(BINARY)
    assert context["argv"][1:] == ["up", "--slots", "3"] and context["slots"] == 3
    assert context["cwd"] == str(server.folder)
    assert context["stdin"] == "/dev/null" and context["stdout"] == f"file {server.log}"
    assert context["parents"][0]["pid"] == server.process.pid, "the supervisor"
    assert any(each["pid"] == os.getpid() for each in context["parents"])
    assert context["time_zone"] == "Asia/Tokyo" and context["locale"] == "C.UTF-8"
    kept = {name: context["environment"][name] for name in given}
    assert kept == {**given, "OTHER": "***"}
    assert context["dotenv"] == ["OPSCORE_LOG_LEVEL"]
    read = {str(server.folder / name) for name in (".env", "opscore.toml")}
    assert set(context["config_files"]) == read
    assert context["services"]["store"] == str(server.data)
    assert context["queues"] == {"*": 1} and "opscore.echo" in context["actors"]
    assert "open_files" in context["limits"] and context["umask"] == "0022"
    shown = server.cli("workers", "show", "worker-1")
    assert shown.returncode == 0
    assert "worker-1" in shown.stdout and "Asia/Tokyo" in shown.stdout
    unknown = server.cli("workers", "show", "worker-9")
    assert unknown.returncode == 3 and "no worker 'worker-9'" in unknown.stderr
    server.stop()
    offline = server.cli("workers", "show", "1", "--json")
    assert json.loads(offline.stdout)["context"]["cwd"] == str(server.folder)
    assert json.loads(offline.stdout)["last_words"] == "asked to stop"


def test_python_says_what_it_is_and_what_was_slow_to_import(new_server):
    server = new_server()
    (server.folder / "slow_part.py").write_text("import threading; threading.Event().wait(0.15)\n")
    (server.folder / "app.py").write_text(
        "import opscore, slow_part\n@opscore.actor\ndef add(a: int, b: int): return a + b\n"
    )
    server.start("--python", "app")
    python = context_of(server)["python"]
    assert os.path.exists(python["executable"]) and python["version"].startswith("3.")
    assert str(server.folder) in python["path"]
    assert python["slow_imports_ms"]["slow_part"] >= 150
    assert python["slow_imports_ms"]["app"] >= python["slow_imports_ms"]["slow_part"]
    assert all(isinstance(version, str) for version in python["packages"].values())
    assert context_of(server)["actors"]["add"] == "python"


# The model case: works on a terminal, hears nothing when a test has started it.
def test_by_hand_against_by_a_test(new_server):
    server = new_server()
    with Terminal(server, "up") as terminal:
        wait_for(lambda: is_described(server), lambda: f"it is up\n{terminal.read()}")
        terminal.type("\x03")
        assert terminal.wait_end() == 0
    by_test = subprocess.Popen(
        [BINARY, "up"],
        cwd=server.folder,
        env={**server.environment, "DRAMATIQ_TESTING": "1", "EMPTY": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_for(lambda: is_described(server, "worker-2"), "it is up")
        found = server.cli("workers", "diff", "worker-1", "worker-2", "--json")
        names = [each["what"] for each in json.loads(found.stdout)]
        first = ["environment.DRAMATIQ_TESTING", "stderr", "stdout", "environment.EMPTY"]
        assert names[:4] == first
        assert "pid" not in names and "cwd" not in names and "services.store" not in names
        text = server.cli("workers", "diff", "1", "2").stdout
        assert "once the pipe is full" in text and "worker-1  terminal /dev/pts/" in text
        same = server.cli("workers", "diff", "2", "2").stdout
        assert same.startswith("nothing differs")
    finally:
        by_test.terminate()
        by_test.communicate(timeout=30)


PLACES = "env plain apitoken amqp redis proxy dotenv webhook parent actor argument".split()
SECRETS = [f"{place}-s3cret-0123456789abcdef" for place in PLACES]


def leaks(text):
    return [secret for secret in SECRETS if secret in text]


def test_secrets_are_kept_nowhere(new_server):
    env, plain, token, amqp, redis, proxy, dotenv, webhook, parent, actor, argument = SECRETS
    server = new_server(
        environment={
            "DB_PASSWORD": env,
            "HARMLESS_NAME": plain,
            "OPSCORE_API_TOKEN": token,
            "RABBITMQ_URL": f"amqp://bob:{amqp}@127.0.0.1:1/",
            "OPSCORE_RESULTS_URL": f"redis://:{redis}@127.0.0.1:1/0",
            "HTTPS_PROXY": f"http://carol:{proxy}@127.0.0.1:1",
        }
    )
    (server.folder / ".env").write_text(f"OPENAI_API_KEY={dotenv}\n")
    server.add_program(
        "noisy", "#!/bin/sh\necho done >&2", f'env = {{ACTOR_KEY = "{actor}"}}\n'
    )
    server.configure(f'[webhooks]\nsecret = "{webhook}"\n[broker.rabbitmq]\nadopt = ["foreign"]\n')
    call = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[2:]))"
    script = f"export MORE={parent}; python3 -c '{call}' {argument} \"$@\"; exit $?"
    server.launch(under=("sh", "-c", script, "sh"))
    wait_for(lambda: is_described(server), lambda: f"it is up\n{server.output()}", 30)
    server.rest.submit("noisy")
    wait_for(lambda: "rabbit" in server.output().lower(), "it has tried the broker")
    answers = [
        server.rest.send("GET", path).body.decode()
        for path in ("workers", "workers/worker-1", "actors", "/ready", "/metrics")
    ]
    answers.append(server.cli("workers", "show", "1").stdout)
    answers.append(server.cli("config", "show").stdout)
    assert all(answers)
    for answer in answers:
        assert not leaks(answer), answer
    assert not leaks(server.output())
    server.stop()
    for file in server.data.parent.rglob("*"):
        if file.is_file():
            assert not leaks(file.read_bytes().decode("latin-1")), file


def test_on_postgresql_too(tmp_path, new_cluster):
    cluster = new_cluster().migrate()
    api = cluster.api()
    cluster.worker()
    cluster.maintenance()
    workers = ("worker-1", "worker-2")
    wait_for(lambda: all(is_described(api, worker) for worker in workers), "both are described")
    described = [context_of(api, worker) for worker in workers]
    assert {context["role"] for context in described} == {"worker", "maintenance"}
    assert described[0]["store_identity"] == described[1]["store_identity"]
    found = api.cli("workers", "diff", "1", "2", "--json")
    assert "role" in [each["what"] for each in json.loads(found.stdout)]
