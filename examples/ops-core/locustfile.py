"""Load for a server with `[api] compat = "ops-core"`: submits agent runs, follows each to its end.

    locust -f examples/ops-core/locustfile.py --host http://localhost:8000 --headless -u 10 -t 30s
"""

import time

from locust import HttpUser, between, task

FINISHED = ("completed", "failed", "cancelled")
PATIENCE_S = 60


class Client(HttpUser):
    wait_time = between(0.05, 0.2)

    @task
    def agent_run(self):
        body = {"task_type": "agent_run", "input_data": {"goal": "What is 6 * 7?"}}
        with self.client.post("/api/v1/tasks/", json=body, catch_response=True) as answer:
            if answer.status_code != 201:
                answer.failure(f"expected 201, got {answer.status_code}: {answer.text[:200]}")
                return
            task_id = answer.json()["task_id"]
        self.follow(task_id)

    def follow(self, task_id):
        deadline = time.monotonic() + PATIENCE_S
        status = None
        while status not in FINISHED and time.monotonic() < deadline:
            with self.client.get(
                f"/api/v1/tasks/{task_id}", name="/api/v1/tasks/{task_id}", catch_response=True
            ) as answer:
                if answer.status_code != 200:
                    answer.failure(f"expected 200, got {answer.status_code}")
                    return
                run = answer.json()
                status = run["status"]
                if status in FINISHED and (status != "completed" or run["output_data"] is None):
                    answer.failure(f"{task_id} is {status}: {run['error_message']}")
            time.sleep(0.05)
        if status not in FINISHED:
            self.environment.events.request.fire(
                request_type="TASK",
                name="finished in time",
                response_time=PATIENCE_S * 1000,
                response_length=0,
                exception=TimeoutError(f"{task_id} is still {status}"),
            )

    @task
    def list_completed(self):
        with self.client.get(
            "/api/v1/tasks?status=completed&limit=5", name="/api/v1/tasks", catch_response=True
        ) as answer:
            if answer.status_code != 200 or answer.json()["total"] < len(answer.json()["tasks"]):
                answer.failure(f"{answer.status_code} {answer.text[:200]}")
