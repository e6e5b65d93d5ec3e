"""The sender, once Dramatiq is gone: what came of a run is a question to opscore.

python -m app.web_with_client PORT
"""

import sys

import opscore
from app.fastapi_shape import FastAPI  # with FastAPI installed: from fastapi import FastAPI

app = FastAPI()
tasks = opscore.Client()


@app.post("/runs", status_code=202)
def start_run(body: dict):
    fields = {**(body.get("input_data") or {}), "goal": body["goal"]}
    task = tasks.submit("agent_task", fields, task_id=body.get("task_id"))
    return {"task_id": task.task_id}


@app.get("/runs/{task_id}")
def show_run(task_id: str):
    task = tasks.get(task_id)
    return {"status": task.status, "result": task.result, "reason": task.reason}


if __name__ == "__main__":
    app.serve(int(sys.argv[1]))
