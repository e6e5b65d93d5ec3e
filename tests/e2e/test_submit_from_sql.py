"""The examples of docs/howto/submit-from-sql.md as they stand there, and what they promise."""

import os
import re
import subprocess
import sys

import pytest

from harness.cluster import psql
from harness.server import ROOT
from harness.waiting import wait_for

TEXT = (ROOT / "docs" / "howto" / "submit-from-sql.md").read_text()
STRICT = """
[actors.strict]
kind = "exec"
command = ["true"]
input_schema = {type = "object", required = ["to"]}
"""


def examples(language, cluster):
    """The blocks of one language, on the schema of the test."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    return [block.replace("opscore.submit", f"{cluster.schema}.submit") for block in blocks]


@pytest.fixture
def cluster(new_cluster):
    """One process that runs tasks and one to ask what became of them."""
    cluster = new_cluster()
    cluster.migrate()
    cluster.worker("--slots", 2, toml=STRICT)
    cluster.rest = cluster.api().rest
    return cluster


def submit(cluster, kind, value="{}"):
    return psql(cluster.url, f"""SELECT "{cluster.schema}".submit('{kind}', '{value}')""")


@pytest.fixture
def shop(cluster):
    """A schema for the tables of the application; yields the options of its connections."""
    schema = cluster.schema + "_shop"
    psql(cluster.url, f'CREATE SCHEMA "{schema}"')
    yield f"-c search_path={schema}"
    psql(cluster.url, f'DROP SCHEMA "{schema}" CASCADE')


def test_the_examples_run(cluster, shop):
    _, transaction = examples("sql", cluster)
    environment = {**os.environ, "PGOPTIONS": shop, "DATABASE_URL": cluster.url}
    done = subprocess.run(
        ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", cluster.url],
        input=transaction,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, later = done.stdout.split()
    (program,) = examples("python", cluster)
    if not os.environ.get("CI"):
        pytest.importorskip("sqlalchemy")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    from_python = done.stdout.strip()
    for task_id, order in ((first, 42), (from_python, 43), (later, 42)):
        task = cluster.rest.wait(task_id)
        assert (task["status"], task["result"]) == ("completed", {"order": order})


def test_a_role_that_may_use_the_schema_submits(cluster):
    role = cluster.schema + "_shop"
    psql(cluster.url, f'CREATE ROLE "{role}"')
    try:
        grant, _ = examples("sql", cluster)
        grant = grant.replace("SCHEMA opscore", f'SCHEMA "{cluster.schema}"')
        psql(cluster.url, grant.replace("shop", f'"{role}"'))
        task_id = psql(
            cluster.url,
            f"""SET ROLE "{role}"; SELECT "{cluster.schema}".submit('opscore.noop', '1')""",
        )
        assert cluster.rest.wait(task_id)["status"] == "completed"
    finally:
        psql(cluster.url, f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


def test_input_is_checked_when_it_is_taken(cluster):
    wait_for(lambda: submit_known(cluster, "strict"), lambda: "'strict' is never announced")
    task = cluster.rest.wait(submit(cluster, "strict", '{"from": "me"}'))
    assert task["status"] == "failed"
    assert task["error"]["kind"] == "invalid_input", task
    assert "to" in task["error"]["message"]
    assert task["attempts"] == 0, "it is not charged"
    assert cluster.rest.wait(submit(cluster, "strict", '{"to": "you"}'))["status"] == "completed"


def submit_known(cluster, kind):
    catalogue = f'"{cluster.schema}".catalogue'
    return psql(cluster.url, f"SELECT 1 FROM {catalogue} WHERE type = '{kind}'")


def test_nothing_of_a_rollback_stays(cluster):
    psql(
        cluster.url,
        f"""BEGIN; SELECT "{cluster.schema}".submit('opscore.noop', '1'); ROLLBACK""",
    )
    assert cluster.rest.get("tasks")["tasks"] == []
    with pytest.raises(subprocess.CalledProcessError):
        submit(cluster, "opscore.nope")
