"""PostgreSQL through a pooler, and over TLS."""

import os
import pwd
import shutil
import subprocess
import urllib.parse

import pytest

from harness.cluster import psql
from harness.processes import kill_quietly
from harness.server import free_port
from harness.waiting import wait_for


@pytest.fixture
def pooler(postgres, tmp_path_factory):
    """PgBouncer with four connections, each lent for a transaction; yields the URL."""
    if not shutil.which("pgbouncer"):
        if os.environ.get("CI"):
            pytest.fail("pgbouncer is not installed")
        pytest.skip("pgbouncer is not installed")
    url = urllib.parse.urlsplit(postgres)
    folder = tmp_path_factory.mktemp("pgbouncer")
    port = free_port()
    (folder / "pgbouncer.ini").write_text(
        f"""
[databases]
postgres = host={url.hostname} port={url.port} user={url.username} password={url.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 100
ignore_startup_parameters = extra_float_digits
"""
    )
    command = [shutil.which("pgbouncer"), folder / "pgbouncer.ini"]
    with open(folder / "log", "wb") as log:
        # It refuses to run as root.
        nobody = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        if nobody is not None:
            for path in (folder, *folder.parents[:2]):
                path.chmod(path.stat().st_mode | 0o055)
            (folder / "pgbouncer.ini").chmod(0o644)
        process = subprocess.Popen(
            command,
            user=nobody,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        pooled = f"postgresql://{url.username}@127.0.0.1:{port}/postgres?pgbouncer=true"

        def answers():
            assert process.poll() is None, (folder / "log").read_text()
            try:
                return psql(pooled.partition("?")[0], "SELECT 1")
            except subprocess.CalledProcessError:
                return None

        wait_for(answers, lambda: "pgbouncer\n" + (folder / "log").read_text(), 60)
        yield pooled
    finally:
        kill_quietly(process.pid)
        process.wait()


def run_tasks(cluster):
    worker, api = cluster.worker("--slots", 4), cluster.api()
    rest = api.rest
    ids = [rest.submit("opscore.echo", {"n": n})["task_id"] for n in range(20)]
    ids.append(rest.submit("opscore.echo", {"n": 20}, delay=0.2)["task_id"])
    for n, task_id in enumerate(ids):
        task = rest.wait(task_id)
        assert (task["status"], task["result"]) == ("completed", {"n": n})
    return worker


def test_through_a_pooler(new_cluster, pooler, postgres):
    cluster = new_cluster(environment={"OPSCORE_STORE_DIRECT_URL": postgres})
    cluster.migrate()
    cluster.environment["DATABASE_URL"] = pooler
    cluster.maintenance()
    run_tasks(cluster)


def test_over_tls(new_cluster, postgres):
    """The server makes itself a certificate, which nobody has signed."""
    psql(
        postgres,
        "COPY (SELECT '') TO PROGRAM 'cat >/dev/null; openssl req -x509 -nodes -newkey rsa:2048 "
        "-subj /CN=localhost -days 2 -keyout server.key -out server.crt 2>/dev/null && "
        "chmod 600 server.key'",
    )
    psql(postgres, "ALTER SYSTEM SET ssl = on")
    try:
        psql(postgres, "SELECT pg_reload_conf()")
        secure = postgres + "?sslmode=require"

        def is_secure():
            try:
                return psql(secure, "SELECT 1")
            except subprocess.CalledProcessError:
                return None

        wait_for(is_secure, lambda: "TLS", 60)
        cluster = new_cluster(environment={"DATABASE_URL": secure})
        cluster.migrate()
        run_tasks(cluster)
        plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE NOT ssl "
        here = "AND application_name = 'opscore'"
        assert psql(postgres, plain.replace("NOT ssl", "ssl") + here) != "0"
    finally:
        psql(postgres, "ALTER SYSTEM RESET ssl")
        psql(postgres, "SELECT pg_reload_conf()")
