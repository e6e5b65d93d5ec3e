"""A web server on a loopback address that keeps what it is asked and answers what a test says."""

import dataclasses
import http.server
import json
import threading


@dataclasses.dataclass
class Call:
    method: str
    path: str
    headers: dict  # names in lower case
    body: bytes

    def json(self):
        return json.loads(self.body)


class Receiver:
    """`answer(call)` gives (status, headers, body); `calls` may be read at any time."""

    def __init__(self, answer=lambda call: (200, {}, b""), host="127.0.0.1", port=0):
        self.answer = answer
        self.calls = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                names = {name.lower(): value for name, value in self.headers.items()}
                call = Call(self.command, self.path, names, body)
                receiver.calls.append(call)
                status, headers, body = receiver.answer(call)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((host, port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.url = f"http://{host}:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
