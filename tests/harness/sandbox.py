"""Whether this machine can make sandboxes, and for whom: found out without opscore."""

import os
import subprocess

import pytest

NOBODY = 61_000 + os.getpid() % 4_000  # whose processes are those of this test alone
REQUIRED = 'sandbox = "required"\n'


def runs(command, user):
    try:
        done = subprocess.run(
            command,
            user=NOBODY if user == "nobody" else None,
            cwd="/",
            capture_output=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):  # not installed, or we may not be that user
        return False
    return done.returncode == 0


def works(user):
    """Whether bubblewrap can do what a sandbox needs."""
    walls = ["--unshare-all", "--unshare-user", "--disable-userns"]
    files = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    return runs(["bwrap", *walls, *files, "true"], user)


USERS = [user for user in ("me", "nobody") if runs(["true"], user)]
WORKS = {user: works(user) for user in USERS}
needs_sandbox = pytest.mark.skipif(
    not WORKS["me"], reason="bubblewrap cannot work here: the refusal is tested"
)
for_users = [
    pytest.param(
        user,
        marks=pytest.mark.skipif(
            not WORKS[user], reason=f"bubblewrap cannot work here for {user}: the refusal is tested"
        ),
    )
    for user in USERS
]
