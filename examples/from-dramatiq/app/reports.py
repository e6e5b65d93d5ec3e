"""Keeps what agents find."""

import json
import os
import pathlib

import dramatiq

from app.broker import broker  # noqa: F401  (before any actor)

REPORTS = pathlib.Path(os.environ.get("REPORTS", "reports"))


@dramatiq.actor(max_retries=5, min_backoff=500)
def write_report(name, report):
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / f"{name}.json"
    path.write_text(json.dumps(report))
    return str(path)
