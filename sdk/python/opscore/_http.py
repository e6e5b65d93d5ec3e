"""HTTP/1.1 over blocking sockets: a pool of kept connections that threads may share."""

from __future__ import annotations

import collections
import contextlib
import http.client
import os
import select
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any, Optional

from opscore import _calls, errors

IDLE_MAX_S = 60.0
"""The server closes connections after 75 s without a request; ours are not used for that long."""
KEPT_MAX = 32

CONNECT_ADVICE = (
    "Start it with `opscore up`, or say where it is: Client(url=...) or the variable OPSCORE_URL."
)
UNKNOWN_ADVICE = (
    "It may or may not have had its effect; with an idempotency_key sending it again is safe, "
    "and the client does it."
)


class Address:
    """Where the server is, taken apart once.

    >>> address = Address("http://localhost:8000/base/")
    >>> address.host, address.port, address.prefix, address.secure
    ('localhost', 8000, '/base', False)
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"the server's URL is {url!r}; it must be http://HOST[:PORT] or https://"
            )
        if parts.username or parts.query or parts.fragment:
            raise ValueError(f"{url!r} has more than scheme, host, port and path; use token=...")
        self.url = url
        self.host = parts.hostname
        self.secure = parts.scheme == "https"
        self.port = parts.port or (443 if self.secure else 80)
        self.prefix = parts.path.rstrip("/")
        self.authority = parts.netloc


def default_url() -> str:
    """`OPSCORE_URL`, or where `opscore up` listens when nothing is configured."""
    return os.environ.get("OPSCORE_URL") or "http://127.0.0.1:8000"


def default_token() -> Optional[str]:
    return os.environ.get("OPSCORE_API_TOKEN") or None


def headers_of(call: _calls.Call[Any], token: Optional[str]) -> dict[str, str]:
    headers = {"User-Agent": "opscore-python/0.1", "Accept": "application/json", **call.headers}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def not_connected(attempted: str, address: Address, error: Exception) -> errors.ConnectionFailed:
    problem = f"no server answers at {address.url} ({error or type(error).__name__})"
    return errors.ConnectionFailed(attempted, problem, CONNECT_ADVICE, sent=False)


def broken_off(attempted: str, address: Address, error: Exception) -> errors.ConnectionFailed:
    problem = f"{address.url} ended the connection or was silent ({error or type(error).__name__})"
    return errors.ConnectionFailed(attempted, problem, UNKNOWN_ADVICE, sent=True)


class Connections:
    """May be used by threads and after a fork; a connection belongs to one of them at a time."""

    def __init__(self, address: Address, token: Optional[str], timeout: float) -> None:
        self.address, self._token, self._timeout = address, token, timeout
        self._tls = ssl.create_default_context() if address.secure else None
        self._lock = threading.Lock()
        self._idle: collections.deque[tuple[http.client.HTTPConnection, float]] = (
            collections.deque()
        )
        self._process = os.getpid()

    def send(self, call: _calls.Call[Any]) -> _calls.Answer:
        """Once, and the whole answer."""
        connection, response = self._exchange(call)
        keep = False
        try:
            answer = self._whole(call, response)
            keep = not response.will_close
        finally:
            if keep:
                self._keep(connection)
            else:
                connection.close()
        return answer

    @contextlib.contextmanager
    def stream(self, call: _calls.Call[Any]) -> Iterator[tuple[_calls.Answer, Iterator[bytes]]]:
        """Once; an answer with status 200 has its body in pieces, as they come, others have it
        whole."""
        connection, response = self._exchange(call)
        try:
            if response.status == 200:
                answer = _calls.Answer(200, _lower(response.headers), b"")
            else:
                answer = self._whole(call, response)
            yield answer, self._pieces(call, response)
        finally:
            connection.close()

    def _whole(self, call: _calls.Call[Any], response: http.client.HTTPResponse) -> _calls.Answer:
        try:
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise broken_off(call.attempted, self.address, error) from error
        return _calls.Answer(response.status, _lower(response.headers), body)

    def _pieces(
        self, call: _calls.Call[Any], response: http.client.HTTPResponse
    ) -> Iterator[bytes]:
        while True:
            try:
                # Not readline: on chunked answers it takes a broken connection for the end.
                piece = response.read1(65536)
            except (OSError, http.client.HTTPException) as error:
                raise broken_off(call.attempted, self.address, error) from error
            if not piece:
                return
            yield piece

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, collections.deque()
        for connection, _ in idle:
            connection.close()

    def _exchange(
        self, call: _calls.Call[Any]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self._connection(call)
        try:
            if connection.sock is not None:
                connection.sock.settimeout(self._timeout + call.held_s)
            target = self.address.prefix + call.target
            connection.request(call.method, target, call.body, headers_of(call, self._token))
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise broken_off(call.attempted, self.address, error) from error
        except BaseException:
            connection.close()
            raise

    def _connection(self, call: _calls.Call[Any]) -> http.client.HTTPConnection:
        while True:
            with self._lock:
                if self._process != os.getpid():  # after a fork they are the parent's
                    self._idle.clear()
                    self._process = os.getpid()
                if not self._idle:
                    break
                connection, since = self._idle.pop()
            fresh = time.monotonic() - since < IDLE_MAX_S
            if fresh and connection.sock and not is_readable(connection.sock.fileno()):
                return connection
            connection.close()
        return self._connect(call)

    def _connect(self, call: _calls.Call[Any]) -> http.client.HTTPConnection:
        host, port = self.address.host, self.address.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls)
            if self._tls
            else http.client.HTTPConnection(host, port, timeout=self._timeout)
        )
        try:
            connection.connect()
        except OSError as error:
            raise not_connected(call.attempted, self.address, error) from error
        return connection

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < KEPT_MAX and self._process == os.getpid():
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()


def is_readable(descriptor: int) -> bool:
    """An idle connection on which something arrives was closed by the server."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _lower(headers: http.client.HTTPMessage) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
