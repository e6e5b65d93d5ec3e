"""Ends a run with the table of docs/reliability.md."""


def pytest_configure(config):
    config.felt = {}  # by disturbance, in the order of the tests


def pytest_terminal_summary(terminalreporter, config):
    if not config.felt:
        return
    terminalreporter.section("how it felt")
    lines = [
        "| disturbance | tasks | longest submit | longest without an end | programs run twice |",
        "|---|--:|--:|--:|--:|",
    ]
    for what, felt in config.felt.items():
        lines.append(
            f"| {what} | {felt.tasks:,} | {felt.submit_s:.1f} s | {felt.quiet_s:.1f} s "
            f"| {felt.doubled} |"
        )
    terminalreporter.write_line("\n".join(lines))
