"""A row of the data file that is not what it was: named, and in nobody's way."""

import sqlite3

from harness.waiting import wait_for


def damage(server, name):
    """The one task with this name, while nobody has the file."""
    with sqlite3.connect(server.data) as data:
        found = data.execute(
            "UPDATE tasks SET options = '{\"name\": ' WHERE options LIKE ?", [f'%"{name}"%']
        )
        assert found.rowcount == 1
    data.close()


def test_the_list_goes_on_without_it_and_names_it(new_server):
    server = new_server()
    rest = server.start().rest
    kept = [rest.run("opscore.echo", n)["task_id"] for n in range(2)]
    broken = rest.submit("opscore.echo", "x", name="broken", delay="1h")["task_id"]
    kept.append(rest.run("opscore.echo", 2)["task_id"])
    server.stop()
    damage(server, "broken")
    rest = server.start().rest

    page = rest.get("tasks")
    assert [task["task_id"] for task in page["tasks"]] == kept[::-1]
    assert len(page["warnings"]) == 1 and broken in page["warnings"][0], page["warnings"]
    listed = server.cli("tasks", "list")
    assert listed.returncode == 0 and f"warning: task {broken} cannot be read" in listed.stderr
    assert broken in rest.expect(500, "GET", f"tasks/{broken}")["detail"]
    assert broken in server.output(), "the log names it, too"

    assert rest.run("opscore.echo", 3)["status"] == "completed"
    assert rest.send("DELETE", f"tasks/{broken}").status == 204
    assert "warnings" not in rest.get("tasks")


def test_one_that_is_due_holds_up_nobody(new_server):
    server = new_server()
    rest = server.start().rest
    rest.expect(200, "POST", "queues/default/pause")
    broken = rest.submit("opscore.echo", "x", name="broken")["task_id"]
    others = [rest.submit("opscore.echo", n)["task_id"] for n in range(20)]
    server.stop()
    damage(server, "broken")
    rest = server.start().rest
    rest.expect(200, "POST", "queues/default/resume")
    for task in others:
        assert rest.wait(task)["status"] == "completed"
    wait_for(lambda: f"task {broken} cannot be run" in server.output(), "the log names it")
    assert rest.queue("default")["scheduled"] == 1, "it waits to be looked at again"
    assert rest.run("opscore.echo", "next")["status"] == "completed"
    assert rest.send("DELETE", f"tasks/{broken}").status == 204
