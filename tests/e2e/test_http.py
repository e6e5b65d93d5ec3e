"""http actors, webhooks, and where URLs of others may lead."""

import hashlib
import hmac
import json
import re
import subprocess
import threading

import pytest

from harness.receiver import Call, Receiver
from harness.server import ROOT, Server, free_port
from harness.waiting import wait_for

LOOPBACK = {"OPSCORE_NET_ALLOW": "127.0.0.1"}
SECRET = "s3cret of the test"


def by_path(call):
    """What the actor's server answers, by the last part of the path."""
    match call.path.strip("/"):
        case "json":
            return 200, {"Content-Type": "application/json"}, b'{"seen": %s}' % call.body
        case "bad-json":
            return 200, {}, b"{"
        case "large":
            return 200, {}, b"x" * 2_000_000
        case "later":
            return 503, {"Retry-After": "3600"}, b""
        case "not-found":
            return 404, {}, b"no such thing"
        case "flaky":
            first = call.headers["x-opscore-attempt"] == "1"
            return (500, {}, b"oops") if first else (200, {}, b"ok")
    return 200, {}, b""


@pytest.fixture(scope="module")
def target():
    with Receiver(by_path) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def actors(shared_server, target):
    return shared_server(
        "".join(
            f'[actors."{name}"]\nkind = "http"\nurl = "{target.url}/{name}"\n{options}\n'
            for name, options in (
                ("json", 'secret_env = "ACTOR_SECRET"\nheaders = {X-Key = "${ACTOR_KEY}"}'),
                ("bad-json", 'output = "json"'),
                ("large", ""),
                ("later", ""),
                ("not-found", ""),
                ("flaky", 'backoff = {min = "10ms", max = "20ms"}'),
            )
        ),
        {"ACTOR_SECRET": SECRET, "ACTOR_KEY": "k3y-of-the-actor"},
    )


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    """Makes servers for all tests of the module."""
    made = []

    def make(toml, environment):
        server = Server(tmp_path_factory.mktemp("http"), environment=environment)
        made.append(server)
        server.configure(toml)
        return server.start()

    yield make
    for server in made:
        server.clean_up()


def signature_of(call, secret=SECRET):
    signed = call.headers["x-opscore-timestamp"].encode() + b"." + call.body
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def test_the_input_is_posted_and_the_answer_is_the_result(actors, target):
    task = actors.rest.run("json", {"a": [1, "é"]})
    assert (task["status"], task["result"]) == ("completed", {"seen": {"a": [1, "é"]}})
    call = next(c for c in target.calls if c.headers["x-opscore-task-id"] == task["task_id"])
    assert call.headers["x-opscore-signature"] == signature_of(call)
    assert call.headers["x-key"] == "k3y-of-the-actor"
    assert "k3y-of-the-actor" not in actors.output() and SECRET not in actors.output()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("bad-json", "bad_output"), ("large", "result_too_large"), ("not-found", "actor_error")],
)
def test_answers_that_are_final(actors, name, kind):
    task = actors.rest.run(name)
    assert (task["status"], task["error"]["kind"], task["attempts"]) == ("failed", kind, 1)


def test_a_server_error_is_tried_again(actors):
    task = actors.rest.run("flaky")
    assert (task["status"], task["result"], task["attempts"]) == ("completed", "ok", 2)


def test_retry_after_snoozes(actors):
    task = actors.rest.wait(actors.rest.submit("later")["task_id"], "scheduled")
    assert task["attempts"] == 0
    actors.rest.expect(200, "POST", f"tasks/{task['task_id']}/cancel")


def test_a_cancel_breaks_the_transfer_off(new_server):
    arrived, release = threading.Event(), threading.Event()

    def hold(call):
        arrived.set()
        release.wait(60)
        return 200, {}, b""

    with Receiver(hold) as receiver:
        server = new_server()
        server.configure(f'[actors.slow]\nkind = "http"\nurl = "{receiver.url}"')
        rest = server.start().rest
        task_id = rest.submit("slow")["task_id"]
        assert arrived.wait(30)
        rest.expect(202, "POST", f"tasks/{task_id}/cancel")
        assert rest.wait(task_id)["status"] == "cancelled"
        timed_out = rest.run("slow", timeout="200ms", max_attempts=1)
        assert timed_out["error"]["kind"] == "timeout"
        release.set()


def test_a_bad_url_is_found_at_start_and_by_the_check(new_server):
    server = new_server()
    server.configure('[actors.x]\nkind = "http"\nurl = "htp://example.com/"')
    assert server.launch().wait(30) == 2
    check = server.cli("config", "check")
    for output in (server.output(), check.stdout + check.stderr):
        assert "opscore.toml:6" in output and "actors.x.url" in output, output
    assert check.returncode != 0


# ---------------------------------------------------------------- webhooks


def webhook_events(rest, task_id):
    events = rest.get(f"tasks/{task_id}/events")["events"]
    return [event for event in events if event["kind"].startswith("webhook_")]


def wait_for_event(rest, task_id, kind):
    def look():
        return next((e for e in webhook_events(rest, task_id) if e["kind"] == kind), None)

    return wait_for(look, lambda: f"{kind}; there are {webhook_events(rest, task_id)}", 60)


@pytest.fixture(scope="module")
def hooks(shared_server):
    return shared_server(
        "[webhooks]\nmax_attempts = 2\n", {**LOOPBACK, "OPSCORE_WEBHOOK_SECRET": SECRET}
    )


def test_the_end_is_told_with_the_tasks_json(hooks):
    with Receiver() as receiver:
        answer = hooks.cli(
            "submit", "opscore.echo", "--input", '{"a": 1}', "--webhook", f"{receiver.url}/x?y=z"
        )
        assert answer.returncode == 0, answer.stderr
        task_id = answer.stdout.strip()
        event = wait_for_event(hooks.rest, task_id, "webhook_delivered")
        assert event["data"] == {"try": 1, "answer": "answered 200"}
        [call] = receiver.calls
        assert (call.method, call.path) == ("POST", "/x?y=z")
        task = hooks.rest.task(task_id)
        assert call.json() == task
        shown = {"url": f"{receiver.url}/x?y=z", "headers": [], "own_secret": False}
        assert task["webhook"] == shown
        assert call.headers["x-opscore-signature"] == signature_of(call)
        assert call.headers["x-opscore-task-id"] == task_id
        assert call.headers["x-opscore-delivery-id"].startswith(task_id)
    metrics = hooks.rest.send("GET", "/metrics").body.decode()
    assert 'opscore_webhook_calls_total{outcome="delivered"}' in metrics


def test_every_way_to_end_is_told(hooks):
    with Receiver() as receiver:
        rest = hooks.rest
        hook = {"url": receiver.url, "headers": {"X-Mine": "yes"}, "secret": "its own"}
        batch = [
            {"task_type": "opscore.echo", "webhook": hook},
            {"task_type": "opscore.fail", "max_attempts": 1, "webhook": hook},
            {"task_type": "opscore.echo", "delay": "1h", "webhook": hook},
            {"task_type": "opscore.echo", "delay": "1h", "deadline": "100ms", "webhook": hook},
        ]
        tasks = rest.expect(202, "POST", "tasks/batch", {"tasks": batch})["tasks"]
        ids = [task["task_id"] for task in tasks]
        rest.expect(200, "POST", f"tasks/{ids[2]}/cancel")
        for task_id in ids:
            wait_for_event(rest, task_id, "webhook_delivered")
        states = {call.json()["task_id"]: call.json()["status"] for call in receiver.calls}
        assert [states[i] for i in ids] == ["completed", "failed", "cancelled", "failed"]
        for call in receiver.calls:
            assert call.headers["x-mine"] == "yes"
            assert call.headers["x-opscore-signature"] == signature_of(call, "its own")
        shown = json.dumps(rest.task(ids[0])["webhook"])
        assert "its own" not in shown and "yes" not in shown


def test_a_receiver_that_comes_back_is_told(new_server):
    server = new_server(environment=LOOPBACK).start()
    port = free_port()
    task_id = server.rest.submit("opscore.echo", webhook=f"http://127.0.0.1:{port}/")["task_id"]
    failed = wait_for_event(server.rest, task_id, "webhook_failed")
    assert failed["data"]["try"] == 1 and failed["data"]["again_at"]
    with Receiver(port=port) as receiver:
        delivered = wait_for_event(server.rest, task_id, "webhook_delivered")
        assert delivered["data"]["try"] > 1
        assert len(receiver.calls) == 1


def test_a_receiver_that_stays_away_is_given_up(hooks):
    with Receiver(lambda call: (500, {}, b"")) as receiver:
        task_id = hooks.rest.submit("opscore.echo", webhook=receiver.url)["task_id"]
        event = wait_for_event(hooks.rest, task_id, "webhook_given_up")
        assert event["data"] == {"try": 2, "answer": "answered 500"}
        ids = {call.headers["x-opscore-delivery-id"] for call in receiver.calls}
        assert (len(receiver.calls), len(ids)) == (2, 1)


def test_a_kill_between_end_and_delivery_loses_nothing(new_server):
    """The receiver holds the call, so the server dies with it under way."""
    arrived, release = threading.Event(), threading.Event()

    def hold_the_first(call):
        arrived.set()
        release.wait(60)
        return 200, {}, b""

    with Receiver(hold_the_first) as receiver:
        server = new_server(environment=LOOPBACK).start()
        task_id = server.rest.submit("opscore.echo", webhook=receiver.url)["task_id"]
        assert arrived.wait(30)
        assert server.rest.task(task_id)["status"] == "completed"
        server.kill()
        release.set()
        server.restart()
        wait_for_event(server.rest, task_id, "webhook_delivered")
        ids = {call.headers["x-opscore-delivery-id"] for call in receiver.calls}
        assert (len(receiver.calls), len(ids)) == (2, 1), "told again, under the same id"


# ---------------------------------------------------------------- where they may lead

REFUSED = [
    "http://127.0.0.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://[::1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://10.1.2.3/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://192.168.0.1/",
    "http://224.0.0.1/",
    "http://0.0.0.0/",
    "http://localhost:8000/",
    "http://user:password@example.com/",
    "ftp://example.com/",
    "example.com/hook",
    "",
]


@pytest.mark.parametrize("url", REFUSED)
def test_a_literal_bad_address_is_refused_at_submit(shared, url):
    body = {"task_type": "opscore.echo", "webhook": url}
    answer = shared.rest.expect(422, "POST", "tasks/", body)
    assert "webhook" in json.dumps(answer)
    batch = {"tasks": [body]}
    assert shared.rest.send("POST", "tasks/batch", batch).status == 422


@pytest.mark.parametrize(
    "webhook",
    [
        5,
        {},
        {"url": 5},
        {"url": "https://example.com/", "headers": {"Host": "x"}},
        {"url": "https://example.com/", "headers": {"X-A": "a\r\nX-B: c"}},
        {"url": "https://example.com/", "headers": {"X-Opscore-Signature": "v1=0"}},
        {"url": "https://example.com/", "color": "red"},
        {"url": "https://example.com/" + "x" * 3000},
    ],
)
def test_a_bad_webhook_is_refused_at_submit(shared, webhook):
    body = {"task_type": "opscore.echo", "webhook": webhook}
    answer = shared.rest.expect(422, "POST", "tasks/", body)
    assert "webhook" in json.dumps(answer)


def test_webhooks_do_not_follow_redirects(hooks):
    with Receiver(lambda call: (200, {}, b"")) as end:
        with Receiver(lambda call: (307, {"Location": end.url}, b"")) as start:
            task_id = hooks.rest.submit("opscore.echo", webhook=start.url)["task_id"]
            event = wait_for_event(hooks.rest, task_id, "webhook_given_up")
            assert "307" in event["data"]["answer"]
            assert not end.calls


def agent_with_http_get(server, url):
    turns = [
        {"tool_calls": [{"name": "http_get", "arguments": {"url": url}}]},
        {"text": "done"},
    ]
    (server.folder / "script.json").write_text(json.dumps({"turns": turns}))
    server.configure(
        '[agent]\nprovider = "replay"\n[agent.providers.replay]\nkind = "scripted"\n'
        'script = "script.json"'
    )
    return server.start()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_http_get_is_refused_a_redirect_to_loopback(new_server, host):
    with Receiver(lambda call: (200, {}, b"the secret")) as secret:
        moved = {"Location": f"http://{host}:{secret.port}/"}
        with Receiver(lambda call: (302, moved, b""), host="127.0.0.2") as page:
            server = agent_with_http_get(
                new_server(environment={"OPSCORE_NET_ALLOW": "127.0.0.2"}), page.url
            )
            task = server.rest.run(
                "agent_task", {"prompt": "read", "agent_config": {"tools": ["http_get"]}}
            )
            [call] = task["result"]["tool_calls"]
            assert not call["ok"] and "loopback" in call["result"], call
            assert len(page.calls) == 1 and not secret.calls
            steps = server.rest.get(f"tasks/{task['task_id']}/steps")["steps"]
            assert [step["name"] for step in steps if step["kind"] == "tool"] == ["http_get"]


def test_http_get_reads_what_is_allowed_and_only_for_who_names_it(new_server):
    with Receiver(lambda call: (200, {}, b"a page")) as page:
        server = agent_with_http_get(new_server(environment=LOOPBACK), page.url)
        named = {"prompt": "read", "agent_config": {"tools": ["http_get"]}}
        task = server.rest.run("agent_task", named)
        assert task["result"]["tool_calls"][0]["result"] == "a page"
        task = server.rest.run("agent_task", {"prompt": "read"})
        assert not task["result"]["tool_calls"][0]["ok"]
        assert len(page.calls) == 1


# ---------------------------------------------------------------- the documentation's examples


def example(page, language):
    """The first block of that language."""
    text = (ROOT / "docs/howto" / page).read_text()
    return re.search(f"```{language}\n(.*?)```", text, re.S).group(1)


def verifier(language):
    return example("verify-signature.md", language)


def test_the_documented_http_actor(new_server, target):
    toml = example("http-actor.md", "toml")
    url = re.search(r'url = "(.*)"', toml).group(1)
    server = new_server(environment={"BILLING_TOKEN": "t", "BILLING_SECRET": SECRET})
    server.configure(toml.replace(url, f"{target.url}/json"))
    assert server.start().rest.run("invoice.render", 1)["result"] == {"seen": 1}
    call = target.calls[-1]
    assert call.headers["authorization"] == "Bearer t"
    assert call.headers["x-opscore-signature"] == signature_of(call)


def test_the_documented_webhook(hooks):
    with Receiver() as receiver:
        body = json.loads(example("webhook.md", "json"))
        body["webhook"]["url"] = receiver.url
        task_id = hooks.rest.expect(202, "POST", "tasks/", body)["task_id"]
        wait_for_event(hooks.rest, task_id, "webhook_delivered")
        [call] = receiver.calls
        assert call.headers["x-team"] == "billing"
        assert call.headers["x-opscore-signature"] == signature_of(call, "of this webhook")


CASES = [("right", True), ("wrong secret", False), ("wrong body", False), ("old", False)]


def a_call(call, case):
    headers, body, secret = dict(call.headers), call.body, SECRET
    if case == "wrong secret":
        secret = "another"
    elif case == "wrong body":
        body += b" "
    elif case == "old":
        headers["x-opscore-timestamp"] = "1000000000"
        headers["x-opscore-signature"] = signature_of(Call("POST", "/", headers, body))
    return headers, body, secret


@pytest.mark.parametrize(("case", "expected"), CASES)
@pytest.mark.parametrize("language", ["python", "js"])
def test_the_documented_verifiers(actors, target, tmp_path, language, case, expected):
    if not any("x-opscore-signature" in call.headers for call in target.calls):
        actors.rest.run("json", {"a": 1})
    call = next(call for call in target.calls if "x-opscore-signature" in call.headers)
    headers, body, secret = a_call(call, case)
    (tmp_path / "body").write_bytes(body)
    if language == "python":
        names = {name.title(): value for name, value in headers.items()}
        call = f"verify({secret.encode()!r}, {names!r}, open('body', 'rb').read())"
        run = ["/usr/bin/python3", "-c", f"{verifier(language)}\nprint({call})"]
    else:
        read = 'require("node:fs").readFileSync("body")'
        call = f"verify({json.dumps(secret)}, {json.dumps(headers)}, {read})"
        run = ["node", "-e", f"{verifier(language)}\nconsole.log({call})"]
    answer = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.strip().lower() == str(expected).lower(), answer.stderr
