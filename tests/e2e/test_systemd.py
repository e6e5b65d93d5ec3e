"""What systemd is told of a service."""

import socket

import pytest


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        yield listening


@pytest.mark.parametrize("arguments", [(), ("--no-supervise",)], ids=["supervised", "alone"])
def test_ready_alive_stopping(new_server, manager, tmp_path, arguments):
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    server = new_server(environment=environment).start(*arguments)
    said = [manager.recv(100).decode() for _ in range(4)]
    assert said.count("READY=1") == 1 and said.count("WATCHDOG=1") == 3, said
    assert server.stop() == 0
    while said[-1] != "STOPPING=1":
        said.append(manager.recv(100).decode())
    assert said.count("READY=1") == 1
