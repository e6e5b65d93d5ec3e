"""What runs in the background."""

import json
import os
import pathlib

import dramatiq

from app.broker import broker  # before any actor

REPORTS = pathlib.Path(os.environ.get("REPORTS", "reports"))


@dramatiq.actor(max_retries=3, time_limit=60_000)
def execute_agent_task_actor(task_id, goal, input_data=None):
    """The agent as it was: a plan, steps, an answer; nobody but the file knows what came of it."""
    plan = [word for word in goal.split() if word.isdigit()]
    answer = " * ".join(plan) + f" = {int(plan[0]) * int(plan[1])}"
    write_report.send(task_id, {"goal": goal, "answer": answer, "input": input_data})


@dramatiq.actor(max_retries=5, min_backoff=500)
def write_report(name, report):
    """Keeps what an agent found."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / f"{name}.json").write_text(json.dumps(report))
    return str(REPORTS / f"{name}.json")
