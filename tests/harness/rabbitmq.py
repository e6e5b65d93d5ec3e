"""A virtual host of RabbitMQ for one installation, and what tests do to its queues."""

import base64
import contextlib
import json
import re
import urllib.error
import urllib.parse
import urllib.request
import uuid

from harness.waiting import wait_for


class RabbitMq:
    """By the management API. `environment` is what ./dev services env prints."""

    def __init__(self, services, environment=None):
        environment = environment or services.env()
        self.services = services
        url = urllib.parse.urlsplit(environment["RABBITMQ_MANAGEMENT_URL"])
        self.api = f"http://{url.hostname}:{url.port}/api/"
        self.user = url.username
        credentials = f"{url.username}:{url.password}".encode()
        self.authorization = "Basic " + base64.b64encode(credentials).decode()
        self.vhost = f"test-{uuid.uuid4().hex[:12]}"
        self.url = re.sub(r"/[^/]*$", f"/{self.vhost}", environment["RABBITMQ_URL"])
        self.ask("PUT", f"vhosts/{self.vhost}")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.ask("PUT", f"permissions/{self.vhost}/{self.user}", everything)

    def ask(self, method, path, body=None, missing=None):
        """`missing` is the answer when there is no such thing."""
        request = urllib.request.Request(
            self.api + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self.authorization, "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404 and missing is not None:
                return missing
            raise AssertionError(f"{method} {path}: {error.code} {error.read()!r}") from error
        return json.loads(text) if text else None

    def _path(self, queue):
        return f"queues/{self.vhost}/opscore.{queue}"

    def declare(self, queue, arguments, durable=True):
        self.ask("PUT", self._path(queue), {"durable": durable, "arguments": arguments})

    def exists(self, queue="default"):
        return bool(self.ask("GET", self._path(queue), missing={}))

    def purge(self, queue="default"):
        self.ask("DELETE", self._path(queue) + "/contents", missing={})

    def delete(self, queue="default"):
        self.ask("DELETE", self._path(queue), missing={})

    def publish(self, text, count=1, queue="default"):
        for _ in range(count):
            self.ask(
                "POST",
                f"exchanges/{self.vhost}/amq.default/publish",
                {
                    "properties": {"delivery_mode": 2},
                    "routing_key": f"opscore.{queue}",
                    "payload": text,
                    "payload_encoding": "string",
                },
            )

    def take(self, queue="default", count=1000):
        """The bodies of hints that wait there, which are gone then."""
        body = {"count": count, "ackmode": "ack_requeue_false", "encoding": "auto"}
        return [each["payload"] for each in self.ask("POST", self._path(queue) + "/get", body)]

    def connections(self):
        """Their names, as far as the management plugin, which is some seconds late, knows."""
        found = self.ask("GET", f"vhosts/{self.vhost}/connections", missing=[])
        return [each.get("client_properties", {}).get("connection_name") for each in found]

    def ctl(self, *arguments):
        done = self.services.call("rabbitmqctl", "-q", *arguments)
        assert done.returncode == 0, f"rabbitmqctl {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def hints(self):
        """How many are ready, and how many unanswered, as of now."""
        rows = self.ctl(
            "list_queues", "-p", self.vhost, "--no-table-headers", "messages_ready",
            "messages_unacknowledged",
        )  # fmt: skip
        # That of RabbitMQ 4 may write lines of its log between them.
        counts = re.findall(r"^(\d+)\s+(\d+)$", rows, re.MULTILINE)
        return tuple(sum(int(row[i]) for row in counts) for i in (0, 1))

    @contextlib.contextmanager
    def silent(self, queue="default"):
        """A quorum queue that answers nobody, as one does that has lost its leader."""
        process = f"'{self.vhost}_opscore.{queue}'"
        self.ctl("eval", f"sys:suspend({process}).")
        try:
            yield
        finally:
            self.ctl("eval", f"sys:resume({process}).")

    def set_alarm(self, on):
        self.ctl("set_vm_memory_high_watermark", "0.00001" if on else "0.6")

    def close(self):
        self.ask("DELETE", f"vhosts/{self.vhost}", missing={})


class DramatiqQueue:
    """A queue of Dramatiq, seen by the management API."""

    def __init__(self, rabbitmq, name):
        self.rabbitmq, self.name = rabbitmq, name
        self.path = f"queues/{rabbitmq.vhost}/{name}"

    def publish(self, payload):
        encoding = "base64" if isinstance(payload, bytes) else "string"
        if encoding == "base64":
            payload = base64.b64encode(payload).decode()
        self.rabbitmq.ask(
            "POST",
            f"exchanges/{self.rabbitmq.vhost}/amq.default/publish",
            {
                "properties": {"delivery_mode": 2},
                "routing_key": self.name,
                "payload": payload,
                "payload_encoding": encoding,
            },
        )

    def messages(self):
        """Those that wait there; they stay."""
        body = {"count": 1000, "ackmode": "ack_requeue_true", "encoding": "auto"}
        return self.rabbitmq.ask("POST", self.path + "/get", body, missing=[])

    def wait_messages(self, count, timeout=30):
        wait_for(
            lambda: len(self.messages()) >= count,
            lambda: f"{count} messages on {self.name}; there are {self.messages()}",
            timeout,
        )
        return self.messages()
