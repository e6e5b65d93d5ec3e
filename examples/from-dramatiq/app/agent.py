"""The agent as it was: a plan, an answer, and a report of it."""

import dramatiq

from app.broker import broker  # noqa: F401  (before any actor)
from app.reports import write_report


@dramatiq.actor(max_retries=3, time_limit=60_000)
def execute_agent_task_actor(task_id, goal, input_data=None):
    first, second = (int(word) for word in goal.split() if word.isdigit())
    answer = f"{first} * {second} = {first * second}"
    write_report.send(task_id, {"goal": goal, "answer": answer, "input": input_data})
