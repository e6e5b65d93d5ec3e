"""For tests that run inside an environment with Dramatiq; see test_dramatiq.py one folder up."""

import dramatiq
import pytest

from opscore import testing
from opscore.dramatiq import OpscoreBroker

ECHO = """
[actors.add]
kind = "exec"
command = ["cat"]
output = "json"

[actors.boom]
kind = "exec"
command = ["sh", "-c", "echo card declined >&2; exit 65"]
"""


@pytest.fixture(scope="session")
def server():
    with testing.server(config=ECHO) as running:
        yield running


@pytest.fixture
def broker(server):
    broker = OpscoreBroker(server.url)
    dramatiq.set_broker(broker)
    yield broker
    broker.close()


@pytest.fixture
def add(broker):
    @dramatiq.actor(actor_name="add")
    def add(x, y):
        """Runs in opscore, never here."""

    return add
