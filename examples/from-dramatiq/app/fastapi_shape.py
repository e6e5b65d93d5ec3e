"""As much of FastAPI's shape as this example uses, from the standard library."""

import http.server
import json
import re


class FastAPI:
    def __init__(self):
        self.routes = []

    def get(self, path, status_code=200):
        return self._route("GET", path, status_code)

    def post(self, path, status_code=200):
        return self._route("POST", path, status_code)

    def _route(self, method, path, status_code):
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "$")

        def declare(function):
            self.routes.append((method, pattern, status_code, function))
            return function

        return declare

    def answer(self, method, path, body):
        for known, pattern, status_code, function in self.routes:
            found = pattern.match(path)
            if found and known == method:
                arguments = found.groupdict()
                if body:
                    arguments["body"] = json.loads(body)
                return status_code, function(**arguments)
        return 404, {"detail": "Not Found"}

    def serve(self, port):
        app = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self):
                length = int(self.headers.get("Content-Length", 0))
                status, value = app.answer(self.command, self.path, self.rfile.read(length))
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = handle_any

        http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
