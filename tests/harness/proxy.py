"""A TCP proxy on 127.0.0.1 that delays, holds back and cuts what goes through it."""

import collections
import socket
import threading
import time


class Proxy:
    """Every connection is two threads: one takes bytes in, one passes them on when it is time."""

    def __init__(self, port, host="127.0.0.1"):
        self.target = (host, port)
        self.delay_s = 0.0  # of each direction
        self.stalled = threading.Event()
        self.closed = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.sockets = set()  # guarded by lock
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self):
        """Bytes are taken and go nowhere, as when a cable is pulled."""
        self.stalled.set()

    def go_on(self):
        self.stalled.clear()

    def cut(self):
        """Ends all connections; new ones are taken."""
        with self.lock:
            sockets = list(self.sockets)
        for each in sockets:
            self._end(each)

    def close(self):
        self.closed.set()
        self.listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.target, timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self.lock:
                self.sockets |= {near, far}
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pass_on(near, far)
            self._pass_on(far, near)

    def _pass_on(self, source, sink):
        chunks, arrived = collections.deque(), threading.Semaphore(0)

        def take_in():
            data = b"begin"
            while data:
                try:
                    data = source.recv(1 << 16)
                except OSError:
                    data = b""
                chunks.append((time.monotonic() + self.delay_s, data))
                arrived.release()

        def give_out():
            while True:
                arrived.acquire()
                due, data = chunks.popleft()
                self.closed.wait(max(0, due - time.monotonic()))
                while self.stalled.is_set() and self._known(sink):
                    self.closed.wait(0.01)
                try:
                    if not data:
                        break
                    sink.sendall(data)
                except OSError:
                    break
            self._end(source)
            self._end(sink)

        for work in (take_in, give_out):
            threading.Thread(target=work, daemon=True).start()

    def _known(self, each):
        with self.lock:
            return each in self.sockets

    def _end(self, each):
        with self.lock:
            self.sockets.discard(each)
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        each.close()
