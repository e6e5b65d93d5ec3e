"""The auditor finds rows that contradict each other, and gives back what nobody has."""

import re

from harness.cluster import psql
from harness.waiting import wait_for


def test_a_task_that_nobody_has_is_given_back(new_cluster):
    cluster = new_cluster().migrate()
    rest = cluster.api().rest
    worker = cluster.worker()
    task_id = rest.submit("opscore.sleep", {"ms": 60_000})["task_id"]
    rest.wait(task_id, "running")
    worker.kill()
    # As if it had ended in good order: nobody rescues what such a session holds.
    psql(cluster.url, f'UPDATE "{cluster.schema}".sessions SET ended = renewed')
    assert rest.get(f"tasks/{task_id}/explain")["verdict"] == "lease_lost"
    maintenance = cluster.maintenance()
    task = wait_for(
        lambda: (found := rest.get(f"tasks/{task_id}"))["status"] != "running" and found,
        lambda: f"it is given back\n{maintenance.output()}",
        timeout=60,
    )
    assert task["attempts"] == 0, "uncharged"
    assert "audit: running_without_lease: task" in maintenance.output()
    assert re.search("audit: gave back 1 attempts of session [0-9]+", maintenance.output())
