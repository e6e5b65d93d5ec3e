"""The sender: takes a goal, answers at once, and shows later what came of it.

python -m app.web PORT
"""

import sys
import uuid

from app.agent import execute_agent_task_actor
from app.fastapi_shape import FastAPI  # with FastAPI installed: from fastapi import FastAPI

app = FastAPI()


@app.post("/runs", status_code=202)
def start_run(body: dict):
    task_id = body.get("task_id") or f"run-{uuid.uuid4()}"
    execute_agent_task_actor.send(
        task_id=task_id, goal=body["goal"], input_data=body.get("input_data")
    )
    return {"task_id": task_id}


if __name__ == "__main__":
    app.serve(int(sys.argv[1]))
