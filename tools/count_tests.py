"""Adds up the test reports of a folder and ends with the line `N passed, N failed`.

Reads JUnit XML: gtest/*.xml (one per gtest program), ctest.xml and pytest-*.xml. A program that
died before it could write its report counts as one failure; so does each failed stage whose
failure no report shows. Exits 1 when anything failed or nothing ran.
"""

import argparse
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def count(path):
    """(passed, failed, skipped) of one JUnit file."""
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif (
            case.find("skipped") is not None
            or case.get("status") in ("notrun", "disabled")
            or case.get("result") in ("skipped", "suppressed")
        ):
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def failed_programs(ctest_report):
    """How many ctest entries failed, whatever the reason."""
    if not ctest_report.exists():
        return 0
    return sum(
        case.get("status") != "run" or case.find("failure") is not None
        for case in ElementTree.parse(ctest_report).getroot().iter("testcase")
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--failed-stages", type=int, default=0)
    parser.add_argument("reports", type=pathlib.Path)
    arguments = parser.parse_args()

    passed = failed = skipped = failing_reports = 0
    for path in sorted(arguments.reports.glob("gtest/*.xml")):
        counts = count(path)
        passed, failed, skipped = (a + b for a, b in zip((passed, failed, skipped), counts))
        failing_reports += counts[1] > 0
    # Programs that ctest saw fail and that left no failing report crashed or hung.
    failed += max(0, failed_programs(arguments.reports / "ctest.xml") - failing_reports)
    for path in sorted(arguments.reports.glob("pytest-*.xml")):
        counts = count(path)
        passed, failed, skipped = (a + b for a, b in zip((passed, failed, skipped), counts))
    failed = max(failed, arguments.failed_stages)
    if passed + failed == 0:
        failed = 1
        print("no test has run")
    if skipped:
        print(f"{skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
