"""A small client of the REST API that hides nothing: status, headers and bytes as they came."""

import dataclasses
import http.client
import json
import urllib.parse

from harness.waiting import wait_for

TERMINAL = ("completed", "failed", "cancelled")


@dataclasses.dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        return json.loads(self.body)

    def __str__(self):
        return f"{self.status} {self.body[:2000]!r}"


class Rest:
    """One connection per request, so that a client may be shared by threads."""

    def __init__(self, port, token=None, host="127.0.0.1"):
        self.host, self.port, self.token = host, port, token

    def send(self, method, path, body=None, headers=None, timeout=30):
        """A body that is not bytes or text is sent as JSON. Paths are relative to /api/v1/."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if isinstance(body, str):
            body = body.encode()
        target = path if path.startswith("/") else f"/api/v1/{path}"
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def expect(self, status, method, path, body=None, **options):
        answer = self.send(method, path, body, **options)
        assert answer.status == status, f"{method} {path}: {answer}"
        return answer.json() if answer.body else None

    def get(self, path, **options):
        return self.expect(200, "GET", path, **options)

    def submit(self, task_type, input_data=None, status=202, **fields):
        body = {"task_type": task_type, "input_data": input_data, **fields}
        return self.expect(status, "POST", "tasks/", body)

    def task(self, task_id):
        return self.get(f"tasks/{urllib.parse.quote(task_id, safe='')}")

    def wait(self, task_id, *states, timeout=30):
        """The task once it is in one of the states, by default a terminal one."""
        states = states or TERMINAL
        last = {}

        def look():
            last.update(self.task(task_id))
            return last["status"] in states

        wait_for(look, lambda: f"{task_id} {'/'.join(states)}; it is {last}", timeout)
        return last

    def run(self, task_type, input_data=None, within=30, **fields):
        """Submits and waits for the end, for so many seconds; `fields` go to the server."""
        return self.wait(self.submit(task_type, input_data, **fields)["task_id"], timeout=within)

    def queue(self, name):
        queues = self.get("queues")["queues"]
        return next((queue for queue in queues if queue["name"] == name), None)


class EventStream:
    """Reads server-sent events of one response until it ends."""

    def __init__(self, rest, path, last_event_id=None, timeout=30):
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = str(last_event_id)
        if rest.token:
            headers["Authorization"] = f"Bearer {rest.token}"
        self.connection = http.client.HTTPConnection(rest.host, rest.port, timeout=timeout)
        self.connection.request("GET", f"/api/v1/{path}", headers=headers)
        self.response = self.connection.getresponse()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def __iter__(self):
        event = {}
        for line in self.response:
            line = line.decode().rstrip("\r\n")
            if not line:
                if event:
                    yield event
                event = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                event[name] = value.removeprefix(" ")
