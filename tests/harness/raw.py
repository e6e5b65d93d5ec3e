"""Bytes on a socket, for clients that do not keep to the rules."""

import re
import socket


class RawConnection:
    """Sends whatever it is told; `timeout` is how long a read may take."""

    def __init__(self, port, timeout=30, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """False when the server closed before it took everything."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False

    def finish_sending(self):
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server was first

    def receive(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            return False
        self.pending += data
        return bool(data)

    def answer(self):
        """Status and body of the next answer; (None, rest) when the connection ends before."""
        while b"\r\n\r\n" not in self.pending:
            if not self.receive():
                return None, self.pending
        head, _, rest = self.pending.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = re.search(rb"(?i)content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        while len(rest) < size:
            if not self.receive():
                return None, self.pending
            rest = self.pending.partition(b"\r\n\r\n")[2]
        self.pending = rest[size:]
        return status, rest[:size]

    def is_closed(self):
        """Reads until the server closes."""
        while self.receive():
            pass
        return True


def request(
    method="GET", target="/health", body=b"", fields=(), version="HTTP/1.1", host="localhost"
):
    """The bytes of a request; a Content-Length is added when there is a body and no length."""
    lines = [f"{method} {target} {version}".encode("latin-1")]
    if host is not None:
        lines.append(b"Host: " + host.encode())
    lines += [field if isinstance(field, bytes) else field.encode() for field in fields]
    lengths = (b"content-length", b"transfer-encoding")
    if body and not any(line.lower().startswith(lengths) for line in lines):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def ask(port, data, finish=False):
    """One connection, one request; the status, or None when the server just closes."""
    with RawConnection(port) as connection:
        connection.send(data)
        if finish:
            connection.finish_sending()
        return connection.answer()


def refused(server, reason):
    """How often the server turned somebody away for that reason, by its metrics."""
    text = server.rest.send("GET", "/metrics").body.decode()
    return float(re.search(rf'opscore_http_refused_total{{reason="{reason}"}} (\S+)', text)[1])
