"""python -m pytest test_minimal_worker.py"""

import opscore.testing


def test_the_worker_greets():
    with opscore.testing.worker("minimal_worker") as worker:
        assert worker.client.run("greet", {"name": "Ada"}, wait=30) == "Hello, Ada!"
