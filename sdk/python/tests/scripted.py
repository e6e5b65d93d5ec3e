"""A server that does what a test says, byte for byte: faults that a real one has by chance."""

import socket
import threading


class ScriptedServer:
    """Each connection is given to the next of `scripts`: a function of a `Conversation`."""

    def __init__(self, *scripts):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests = []
        self.closed = threading.Semaphore(0)  # one for each connection that is over
        self._thread = threading.Thread(target=self._serve, args=(scripts,), daemon=True)
        self._thread.start()

    def _serve(self, scripts):
        for script in scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                script(Conversation(connection, self.requests))
            self.closed.release()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()


class Conversation:
    def __init__(self, connection, requests):
        self._connection, self._requests = connection, requests

    def read(self):
        """One request: (first line, headers, body); kept in the server's `requests`."""
        text = b""
        while b"\r\n\r\n" not in text:
            piece = self._connection.recv(65536)
            if not piece:
                return None
            text += piece
        head, _, body = text.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        while len(body) < int(headers.get("content-length", 0)):
            body += self._connection.recv(65536)
        self._requests.append((first, headers, body))
        return self._requests[-1]

    def send(self, data):
        self._connection.sendall(data)

    def answer(self, body, status="200 OK", headers=""):
        data = body.encode()
        length = f"Content-Length: {len(data)}\r\n"
        self.send(f"HTTP/1.1 {status}\r\n{headers}{length}\r\n".encode() + data)

    def begin_stream(self):
        self.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )

    def chunk(self, text):
        data = text.encode()
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def end_stream(self):
        self.send(b"0\r\n\r\n")
