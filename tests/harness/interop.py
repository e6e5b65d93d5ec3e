"""The table of docs/reference/dramatiq-interop.md, made of the tests that prove it.

A test says what it shows: `@pytest.mark.interop(feature, direction=..., ...)`; of which version
of Dramatiq, its parameter `version` says. `--write-interop FILE` writes the table after a run in
which all of them have passed; with `--collect-only` it is the table that such a run would write.
"""

import dataclasses
import pathlib

import pytest

from harness.dramatiq import NEWEST, VERSIONS
from harness.server import ROOT

TABLE = ROOT / "docs" / "reference" / "dramatiq-interop.md"
DIRECTIONS = {
    "adopted": "Python sends over RabbitMQ, opscore's own actors run it",
    "hosted": "Python sends over RabbitMQ, `opscore dramatiq` runs the application's actors",
    "over HTTP": "Python sends through `OpscoreBroker`, without RabbitMQ",
    "handed over": "opscore sends over RabbitMQ, Python's own workers run it",
}
OUTCOMES = ("works", "differs", "refused")
HEAD = """# Dramatiq's features, one by one

Each row was run with the real Dramatiq of PyPI, in these versions. The tests write this page, and
fail when it says anything else:

    python3 -m pytest tests/e2e -m interop --write-interop docs/reference/dramatiq-interop.md

*works*: as between two programs of Dramatiq. *differs*: it works, in the way that is said.
*refused*: with that reason, before anything runs. How to use it:
[beside Dramatiq](../howto/dramatiq.md),
[hosted](../howto/python-actors.md#applications-of-dramatiq),
[tasks for Dramatiq's workers](../howto/dramatiq-workers.md).
"""


@dataclasses.dataclass(frozen=True)
class Claim:
    """What one test shows of one feature."""

    feature: str
    direction: str
    version: str
    outcome: str
    note: str
    test: str


def claims_of(item):
    version = getattr(item, "callspec", None) and item.callspec.params.get("version")
    for mark in item.iter_markers("interop"):
        yield claim(item.nodeid, version or NEWEST, *mark.args, **mark.kwargs)


def claim(test, version, feature, *, direction, outcome="works", note="", differs_in=()):
    outcome = "differs" if version in differs_in else outcome
    if direction not in DIRECTIONS or outcome not in OUTCOMES or version not in VERSIONS:
        raise pytest.UsageError(f"{test}: no such interop: {direction}, {outcome}, {version}")
    if outcome != "works" and not note:
        raise pytest.UsageError(f"{test}: '{feature}' {outcome}, so say how: note=...")
    return Claim(feature, direction, version, outcome, note, test)


def row(claims):
    by_version = {each.version: each.outcome for each in claims}
    cells = [by_version.get(version, "not tried") for version in VERSIONS]
    notes = "; ".join(dict.fromkeys(each.note for each in claims if each.note))
    return f"| {claims[0].feature} | {' | '.join(cells)} | {notes} |"


def section(direction, claims):
    yield f"\n## {DIRECTIONS[direction]}\n"
    yield f"| feature | {' | '.join(VERSIONS)} | how |"
    yield "|---" * (len(VERSIONS) + 2) + "|"
    rows = {}
    for each in claims:
        rows.setdefault(each.feature, []).append(each)
    yield from sorted(map(row, rows.values()), key=str.casefold)


def table(claims):
    lines = [HEAD.rstrip("\n")]
    for direction in DIRECTIONS:
        found = [each for each in claims if each.direction == direction]
        if found:
            lines += section(direction, found)
    return "\n".join(lines) + "\n"


class Writer:
    """Follows a run and writes the table at its end."""

    def __init__(self, path):
        self.path = pathlib.Path(path).absolute()
        self.claims, self.passed = [], set()

    def pytest_collection_finish(self, session):
        self.claims = [each for item in session.items for each in claims_of(item)]

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    def pytest_sessionfinish(self, session):
        missing = {each.test for each in self.claims} - self.passed
        if missing and not session.config.option.collectonly:
            words = f"{self.path} is not written: {', '.join(sorted(missing))} did not pass"
            raise pytest.UsageError(words)
        self.path.write_text(table(self.claims), encoding="utf-8")
