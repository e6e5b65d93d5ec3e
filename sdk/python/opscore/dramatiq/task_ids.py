"""Which tasks belong to a message of Dramatiq that came over HTTP. Pure, and without Dramatiq."""

from __future__ import annotations

import hashlib
import re

TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def derived_id(message_id: str) -> str:
    """Of a task whose wanted id is another's; as opscore derives it.

    >>> derived_id("m-1"), derived_id("no id")
    ('message:m-1', 'message:745677f0e14bf1bdd94d58d88fcdf6b7')
    """
    derived = "message:" + message_id
    if is_task_id(derived):
        return derived
    return "message:" + hashlib.sha256(message_id.encode()).hexdigest()[:32]


def is_task_id(text: str) -> bool:
    """
    >>> is_task_id("order-17"), is_task_id("batch"), is_task_id("with space")
    (True, False, False)
    """
    return TASK_ID.fullmatch(text) is not None and text != "batch"


def canonical_queue(name: str) -> str:
    """
    >>> canonical_queue("default.DQ"), canonical_queue("default.XQ"), canonical_queue("mail")
    ('default', 'default', 'mail')
    """
    return name[:-3] if name.endswith((".DQ", ".XQ")) else name
