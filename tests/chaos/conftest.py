"""What the tests of recovery share; ends a run with the table of docs/reliability.md."""

import tempfile

import pytest

from harness.services import Services, provide
from installation import Installation, sentence_of


def pytest_configure(config):
    config.felt = {}  # by disturbance, in the order of the tests


def pytest_terminal_summary(terminalreporter, config):
    if not config.felt:
        return
    terminalreporter.section("how it felt")
    lines = [
        "| disturbance | tasks | longest submit | longest without an end | programs run twice |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [sentence_of(what, felt) for what, felt in config.felt.items()]
    terminalreporter.write_line("\n".join(lines))


@pytest.fixture
def note(pytestconfig):
    """Keeps what a disturbance felt like, for the table that ends the run."""
    return pytestconfig.felt.__setitem__


class Kept:
    """The installation that tests without wishes of their own disturb one after the other; a new
    one when it was not seen to be well after the last."""

    def __init__(self):
        self.installation = None

    def get(self, make):
        if self.installation and not self.installation.sound:
            self.clean_up()
        if not self.installation:
            self.installation = make()
        return self.installation

    def clean_up(self):
        if self.installation:
            self.installation.clean_up()
        self.installation = None


@pytest.fixture(scope="session")
def kept(services):
    found = Kept()
    yield found
    found.clean_up()


@pytest.fixture
def make(services, tmp_path_factory, request, kept):
    """Makes the installation of the test; its services run again afterwards."""
    provide(services, "rabbitmq")
    made = []

    def start(environments=None, database=None, **options):
        if not database:
            provide(services, "postgres")

        def new():
            at = Installation(
                tmp_path_factory.mktemp("at"), services, database or services, environments
            )
            if environments or database or options:
                made.append(at)
            return at.start(**options)

        at = new() if environments or database or options else kept.get(new)
        request.node.servers = at.cluster.processes
        return at

    yield start
    for name in ("postgres", "rabbitmq"):
        services.start(name)
    for each in made:
        each.clean_up()


@pytest.fixture
def own_postgres():
    """Makes a PostgreSQL that only this test has, with that in its environment."""
    made = []

    def start(environment=None, folder=None):
        folder = folder or tempfile.mkdtemp(prefix="opscore-chaos-")
        made.append(Services(folder, environment))
        provide(made[-1], "postgres")
        return made[-1]

    yield start
    for each in made:
        each.call("stop")
