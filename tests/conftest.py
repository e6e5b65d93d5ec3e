"""Fixtures for the tests that run the real binary."""

import contextlib
import os
import tempfile
import uuid

import pytest

from harness import interop
from harness.cluster import Cluster, psql
from harness.dramatiq import NEWEST, Dramatiq
from harness.holder import start_holder
from harness.rabbitmq import RabbitMq
from harness.server import BINARY, Server
from harness.services import Services, provide


def pytest_addoption(parser):
    parser.addoption("--write-interop", metavar="FILE", help="write the table; harness/interop.py")
    parser.addoption(
        "--only-with-services",
        action="store_true",
        help="only the tests that use PostgreSQL or RabbitMQ",
    )


def pytest_configure(config):
    if path := config.getoption("--write-interop"):
        config.pluginmanager.register(interop.Writer(path))


def pytest_collection_modifyitems(config, items):
    if config.getoption("only_with_services"):
        config.hook.pytest_deselected(items=[i for i in items if "services" not in i.fixturenames])
        items[:] = [item for item in items if "services" in item.fixturenames]


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not BINARY.exists():
        pytest.exit(f"{BINARY} is not built: ./dev build", returncode=2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the servers' logs with a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when == "call":
        for server in getattr(item, "servers", []):
            report.sections.append((f"log of {server.folder}", server.output()[-8000:]))


@pytest.fixture
def new_server(tmp_path, request):
    """Makes servers, not yet started; ends whatever the test leaves running."""
    request.node.servers = []
    with contextlib.ExitStack() as stack:

        def make(name="server", **options):
            server = Server(tmp_path / name, **options)
            stack.callback(server.clean_up)
            request.node.servers.append(server)
            return server

        yield make


@pytest.fixture
def server(new_server):
    """A running `opscore up` with nothing configured."""
    return new_server().start()


@pytest.fixture
def rest(server):
    return server.rest


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One running server for all tests of a module that leave no trace in each other's way."""
    server = Server(tmp_path_factory.mktemp("shared"))
    try:
        yield server.start()
    finally:
        server.clean_up()


@pytest.fixture(scope="session")
def services():
    """Those of ./dev services; where nobody has started any, of this run only."""
    if folder := os.environ.get("OPSCORE_SERVICES"):
        yield Services(folder)
        return
    found = Services(tempfile.mkdtemp(prefix="opscore-e2e-"))
    yield found
    found.call("stop")  # and removes the folder


@pytest.fixture(scope="session")
def postgres(services):
    """A PostgreSQL to use; the tests share it and may halt it, if they start it again."""
    provide(services, "postgres")
    yield services.env()["DATABASE_URL"]


@pytest.fixture
def new_cluster(tmp_path, postgres, request):
    """Makes installations with a schema of their own; ends whatever the test leaves running."""
    request.node.servers = []
    with contextlib.ExitStack() as stack:

        def make(toml="", environment=None):
            schema = f"e2e_{uuid.uuid4().hex[:12]}"
            stack.callback(psql, postgres, f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
            cluster = Cluster(tmp_path / schema, postgres, schema, toml, environment)
            stack.callback(cluster.clean_up)
            request.node.servers = cluster.processes
            return cluster

        yield make


@pytest.fixture
def rabbitmq(services):
    """A virtual host of RabbitMQ for this test."""
    provide(services, "rabbitmq")
    found = RabbitMq(services)
    yield found
    found.close()


@pytest.fixture
def holder(tmp_path, rabbitmq):
    """Starts workers of Dramatiq that hold messages of a queue; see tests/harness/holder.py."""
    started = []

    def start(queue, **options):
        folder = tmp_path / f"holder-{len(started)}"
        started.append(start_holder(folder, rabbitmq.url, queue, **options))
        return started[-1]

    yield start
    for worker in started:
        worker.clean_up()


@pytest.fixture
def new_python(tmp_path, rabbitmq):
    """Makes what stands for an application with that version; see tests/harness/dramatiq.py."""
    made = []

    def make(version=NEWEST, redis=""):
        made.append(Dramatiq(tmp_path / f"python-{version}", rabbitmq.url, version, redis))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def python(new_python):
    return new_python()
