"""Keeps what agents find, once Dramatiq is gone. The agent is opscore's own."""

import json
import os
import pathlib

import opscore

REPORTS = pathlib.Path(os.environ.get("REPORTS", "reports"))


@opscore.actor(max_attempts=6, backoff=opscore.Backoff(min=0.5))
def write_report(name: str, report: dict) -> str:
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / f"{name}.json"
    path.write_text(json.dumps(report))
    return str(path)
