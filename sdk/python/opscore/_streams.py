"""HTTP/1.1 over asyncio streams: what AsyncClient needs of it, with kept connections."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Optional, TypeVar

from opscore import _calls, _http

Value = TypeVar("Value")

HEAD_MAX = 64 * 1024
PIECE_MAX = 64 * 1024


class _Broken(Exception):
    """What came is not HTTP, or not all of it came."""


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.idle_since = time.monotonic()

    def is_usable(self) -> bool:
        if self.reader.at_eof() or self.writer.is_closing():
            return False
        # The loop may not have looked at the socket since the server closed it.
        descriptor = self.writer.get_extra_info("socket").fileno()
        fresh = time.monotonic() - self.idle_since < _http.IDLE_MAX_S
        return fresh and not _http.is_readable(descriptor)

    async def read_head(self) -> tuple[int, dict[str, str], bool]:
        """Status, headers with names in lower case, and whether the connection goes on."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise _Broken(f"the answer begins with {first[:60]!r}")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        stays = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        return int(rest[:3]), headers, stays


class _Body:
    """The body of one answer, piece by piece."""

    def __init__(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> None:
        self._reader = reader
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = headers.get("content-length")
        self._left = None if length is None or self._chunked else int(length)

    async def next(self) -> bytes:
        """b"" at the end."""
        if self._chunked:
            return await self._next_chunk()
        if self._left is None:
            return await self._reader.read(PIECE_MAX)
        piece = await self._reader.readexactly(min(self._left, PIECE_MAX))
        self._left -= len(piece)
        return piece

    async def _next_chunk(self) -> bytes:
        line = await self._reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            while await self._reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return b""
        return (await self._reader.readexactly(size + 2))[:-2]


class Streams:
    """Connections of one event loop; used in another one it begins anew."""

    def __init__(self, address: _http.Address, token: Optional[str], timeout: float) -> None:
        self.address, self._token, self._timeout = address, token, timeout
        self._tls = ssl.create_default_context() if address.secure else None
        self._idle: collections.deque[_Connection] = collections.deque()
        self._loop: Optional[asyncio.AbstractEventLoop] = None

    async def send(self, call: _calls.Call[Any]) -> _calls.Answer:
        """Once, and the whole answer."""
        connection = await self._connection(call)
        keep = False
        try:
            status, headers, stays = await self._exchange(call, connection)
            answer = await self._whole(call, connection, status, headers)
            keep = stays and len(self._idle) < _http.KEPT_MAX
        finally:
            if keep:
                connection.idle_since = time.monotonic()
                self._idle.append(connection)
            else:
                connection.writer.close()
        return answer

    @contextlib.asynccontextmanager
    async def stream(
        self, call: _calls.Call[Any]
    ) -> AsyncIterator[tuple[_calls.Answer, AsyncIterator[bytes]]]:
        """Once; an answer with status 200 has its body in pieces, as they come, others have it
        whole."""
        connection = await self._connection(call)
        try:
            status, headers, _ = await self._exchange(call, connection)
            if status == 200:
                answer = _calls.Answer(200, headers, b"")
            else:
                answer = await self._whole(call, connection, status, headers)
            yield answer, self._pieces(call, connection, headers)
        finally:
            connection.writer.close()

    async def close(self) -> None:
        while self._idle:
            connection = self._idle.pop()
            connection.writer.close()
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()

    async def _connection(self, call: _calls.Call[Any]) -> _Connection:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._idle.clear()
            self._loop = loop
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable():
                return connection
            connection.writer.close()
        host, port = self.address.host, self.address.port
        opening = asyncio.open_connection(host, port, ssl=self._tls, limit=HEAD_MAX)
        try:
            return _Connection(*await asyncio.wait_for(opening, self._timeout))
        except (OSError, asyncio.TimeoutError) as error:
            raise _http.not_connected(call.attempted, self.address, error) from error

    async def _exchange(
        self, call: _calls.Call[Any], connection: _Connection
    ) -> tuple[int, dict[str, str], bool]:
        connection.writer.write(self._bytes_of(call))
        status, headers, stays = await self._guard(call, connection.read_head())
        while status < 200:
            status, headers, stays = await self._guard(call, connection.read_head())
        return status, headers, stays

    def _bytes_of(self, call: _calls.Call[Any]) -> bytes:
        headers = {"Host": self.address.authority, **_http.headers_of(call, self._token)}
        if call.body is not None or call.method != "GET":
            headers["Content-Length"] = str(len(call.body or b""))
        lines = [f"{call.method} {self.address.prefix}{call.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (call.body or b"")

    async def _whole(
        self, call: _calls.Call[Any], connection: _Connection, status: int, headers: dict[str, str]
    ) -> _calls.Answer:
        if status in (204, 304):
            return _calls.Answer(status, headers, b"")
        pieces = [piece async for piece in self._pieces(call, connection, headers)]
        return _calls.Answer(status, headers, b"".join(pieces))

    async def _pieces(
        self, call: _calls.Call[Any], connection: _Connection, headers: dict[str, str]
    ) -> AsyncIterator[bytes]:
        body = _Body(connection.reader, headers)
        while piece := await self._guard(call, body.next()):
            yield piece

    async def _guard(self, call: _calls.Call[Any], step: Awaitable[Value]) -> Value:
        """One step of reading, with the limit on the server's silence."""
        try:
            return await asyncio.wait_for(step, self._timeout + call.held_s)
        except asyncio.TimeoutError:
            silence = TimeoutError(f"no answer for {self._timeout + call.held_s:g} s")
            raise _http.broken_off(call.attempted, self.address, silence) from None
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, _Broken) as error:
            raise _http.broken_off(call.attempted, self.address, error) from error
