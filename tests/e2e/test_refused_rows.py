"""A row that PostgreSQL refuses, here by a trigger, costs its own task only."""

import threading

from harness.cluster import psql

REFUSES = """
CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF to_jsonb(NEW) ->> '{column}' = '"bad"' THEN RAISE EXCEPTION 'not this one'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON {schema}.{table} FOR EACH ROW
  EXECUTE FUNCTION {schema}.refuse()
"""


def test_a_task_that_postgresql_refuses_fails_alone(new_cluster):
    cluster = new_cluster().migrate()
    cluster.worker()
    rest = cluster.api().rest
    psql(cluster.url, REFUSES.format(schema=cluster.schema, table="tasks", column="input"))
    inputs = [*range(5), "bad", *range(5)]
    tasks = [{"task_type": "opscore.echo", "input_data": value} for value in inputs]
    answer = rest.expect(202, "POST", "tasks/batch?atomic=false", tasks)
    assert (answer["accepted"], answer["refused"]) == (10, 1)
    assert "not this one" in answer["tasks"][5]["error"]["detail"]
    statuses = {}

    def submit(value):
        for n in range(5):
            task = {"task_type": "opscore.echo", "input_data": value or n}
            statuses.setdefault(value, set()).add(rest.send("POST", "tasks/", task).status)

    clients = [threading.Thread(target=submit, args=(value,)) for value in ("bad", *range(1, 16))]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert statuses.pop("bad") == {500}
    assert all(status == {202} for status in statuses.values()), statuses


def test_an_outcome_that_postgresql_refuses_is_kept_and_keeps_no_other(new_cluster):
    cluster = new_cluster().migrate()
    worker = cluster.worker()
    rest = cluster.api().rest
    psql(cluster.url, REFUSES.format(schema=cluster.schema, table="outcomes", column="result"))
    bad = rest.submit("opscore.echo", "bad")["task_id"]
    tasks = [rest.submit("opscore.echo", n)["task_id"] for n in range(20)]
    assert {rest.wait(task)["status"] for task in tasks} == {"completed"}
    worker.wait_for_words("cannot be stored")
    assert rest.get(f"tasks/{bad}")["status"] == "running"
    psql(cluster.url, f"DROP FUNCTION {cluster.schema}.refuse CASCADE")
    assert rest.wait(bad)["status"] == "completed"
