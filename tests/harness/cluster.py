"""An installation on PostgreSQL: processes of the roles, each in a folder of its own."""

import subprocess

from harness.server import Server
from harness.waiting import wait_for


class Process(Server):
    """One process of a role. Only those with an API can be asked whether they are ready."""

    def __init__(self, folder, role, environment):
        super().__init__(folder, environment)
        self.role = role

    def launch(self, *arguments, under=()):
        return super().launch(*arguments, role=self.role, under=under)

    def wait_for_words(self, words, count=1, timeout=30):
        def look():
            assert self.process.poll() is None, f"{self.role} ended early:\n{self.output()}"
            return self.output().count(words) >= count

        wait_for(look, lambda: f"'{words}' of {self.role}\n{self.output()}", timeout)
        return self


class Cluster:
    """Processes share a schema of the database; `toml` is the configuration of all of them."""

    def __init__(self, folder, url, schema, toml="", environment=None):
        self.folder, self.url, self.schema, self.toml = folder, url, schema, toml
        self.environment = {
            "DATABASE_URL": url,
            "OPSCORE_STORE_SCHEMA": schema,
            "OPSCORE_STORE_EXPORTS": str(folder / "exports"),
            **(environment or {}),
        }
        self.processes = []

    def add(self, role, toml="", environment=None):
        """A process that is not started yet."""
        folder = self.folder / f"{role}-{len(self.processes)}"
        process = Process(folder, role, {**self.environment, **(environment or {})})
        process.configure(self.toml + toml)
        self.processes.append(process)
        return process

    def api(self, *arguments, **options):
        process = self.add("api", **options)
        process.start(*arguments)
        return process

    def worker(self, *arguments, **options):
        """Returns when it takes work."""
        process = self.add("worker", **options)
        process.launch(*arguments)
        return process.wait_for_words("session", timeout=30)

    def maintenance(self, *arguments, **options):
        process = self.add("maintenance", **options)
        process.launch(*arguments)
        return process.wait_for_words("session", timeout=30)

    def cli(self, *arguments, **options):
        """A command that needs no server."""
        if not self.processes:
            self.add("migrate")
        return self.processes[0].cli(*arguments, **options)

    def migrate(self):
        done = self.cli("migrate")
        assert done.returncode == 0, done.stdout + done.stderr
        return self

    def clean_up(self):
        for process in self.processes:
            process.clean_up()


def psql(url, statement):
    """What psql prints for it, without decoration."""
    done = subprocess.run(
        ["psql", "-XAtq", "-d", url, "-c", statement],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


