"""docs/reference/dramatiq-interop.md says what the tests show, no more and no less."""

import subprocess
import sys

from harness.interop import TABLE
from harness.server import ROOT

E2E = ROOT / "tests" / "e2e"


def test_the_table_is_that_of_the_tests(tmp_path):
    written = tmp_path / "table.md"
    files = [path for path in E2E.glob("test_*.py") if "pytest.mark.interop(" in path.read_text()]
    done = subprocess.run(
        (sys.executable, "-m", "pytest", "-q", "--collect-only", "--write-interop", written)
        + tuple(sorted(files)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert written.read_text() == TABLE.read_text(), "run the tests with --write-interop"
