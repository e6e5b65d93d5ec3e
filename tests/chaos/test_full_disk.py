"""The disk of PostgreSQL's write-ahead log fills up, and gets room again."""

import os
import shutil
import subprocess

import pytest

from installation import DISTURBED_S, pause
from harness.waiting import wait_for


class SmallDisk:
    """A tmpfs that has the write-ahead log of a PostgreSQL."""

    def __init__(self, services):
        self.services = services
        self.folder = services.folder / "postgres" / "data" / "pg_wal"

    def put_under(self, megabytes):
        """Under a server that is to be started again."""
        owner = self.folder.stat()
        kept = self.folder.with_name("pg_wal.kept")
        self.folder.rename(kept)
        self.folder.mkdir(mode=0o700)
        options = f"size={megabytes}m,mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
        self.mount("-t", "tmpfs", "-o", options, "tmpfs", self.folder)
        subprocess.run(["cp", "-a", f"{kept}/.", self.folder], check=True)
        shutil.rmtree(kept)

    def grow(self, megabytes):
        self.mount("-o", f"remount,size={megabytes}m", self.folder)

    def clean_up(self):
        self.services.halt("postgres")
        subprocess.run(["umount", self.folder], check=False)

    @staticmethod
    def mount(*arguments):
        done = subprocess.run(
            ["mount", *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode != 0 and not os.environ.get("CI"):
            pytest.skip(f"mount a tmpfs: {done.stderr}")
        assert done.returncode == 0, f"mount a tmpfs: {done.stderr}"


@pytest.fixture
def small_disk(own_postgres):
    services = own_postgres()
    services.halt("postgres")
    disk = SmallDisk(services)
    disk.put_under(megabytes=64)
    services.start("postgres")
    yield disk
    disk.clean_up()


def test_the_disk_of_the_wal_fills(small_disk, make, note):
    at = make(database=small_disk.services)

    def fill():
        at.padding = 40_000
        wait_for(lambda: at.load.refusals, "submits are refused", 120)
        at.padding = 0
        pause(DISTURBED_S)
        small_disk.grow(megabytes=4096)
        small_disk.services.start("postgres")

    felt = at.under_load(fill)
    print(at.load.refusals)
    for status, reason in at.load.refusals:
        assert status in (503, 507), reason
        assert "PostgreSQL" in reason, reason
    note("WAL on a tmpfs of 64 MB that fills", felt)
