"""The live views: tasks watch, queues watch."""

import json
import pathlib
import re
import shlex
import signal
import subprocess
import termios

import pytest

from harness.server import BINARY, ROOT
from harness.terminal import COLOUR, Terminal, columns
from harness.waiting import wait_for

GIVEN_BACK = "\x1b[?7h\x1b[?25h\x1b[?1049l"
OFTEN = ("--interval", "100ms")


@pytest.fixture(scope="module")
def busy(shared):
    """A server with a queue that holds tasks and one whose name is long."""
    shared.rest.expect(200, "POST", "queues/held/pause")
    for _ in range(3):
        shared.rest.submit("opscore.noop", queue="held")
    shared.rest.run("opscore.sleep", {"ms": 2}, queue="q." + "long" * 25)
    return shared


def fits(frame, width):
    return all(columns(line) <= width for line in frame)


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("view", ["tasks", "queues"])
def test_fits_the_terminal(busy, view, width):
    with Terminal(busy, view, "watch", *OFTEN, width=width, height=20) as terminal:
        frame = terminal.wait_for_frame(lambda text: "pending 3" in text, "the depth")
        assert fits(frame, width) and len(frame) <= 20
        assert re.search(r"\nheld.* 3 |\nopscore\.sleep", "\n".join(frame)), frame
        if view == "queues" and width <= 80:
            assert any(line.startswith("q.long") and "…" in line for line in frame)


def test_shows_what_happens(busy):
    with Terminal(busy, "queues", "watch", *OFTEN) as terminal:
        terminal.wait_for_frame(lambda text: "submitted 0/s" in text, "that nothing happens")
        for _ in range(5):
            busy.rest.submit("opscore.sleep", {"ms": 1}, queue="live")
        moved = re.compile(r"submitted [1-9][\d.]*/s")
        terminal.wait_for_frame(moved.search, "the submits")
        frame = terminal.wait_for_frame(lambda text: "\nlive" in text, "the new queue")
        assert fits(frame, 80)


def test_is_drawn_in_place_and_follows_a_resize(busy):
    with Terminal(busy, "queues", "watch", *OFTEN) as terminal:
        terminal.wait_for_frame(lambda text: "held" in text, "the view")
        terminal.resize(40, 12)
        frame = terminal.wait_for_frame(
            lambda text: fits(text.split("\n"), 40), "a picture of 40 columns"
        )
        assert len(frame) <= 12
        started = terminal.read().index("\x1b[?2026h")
        assert "\x1b[2J" not in terminal.read()[started:], "nothing is blanked while it lives"


@pytest.mark.parametrize("key, code", [("\x03", -signal.SIGINT), ("q", 0)])
def test_leaves_the_terminal_as_it_was(busy, key, code):
    with Terminal(busy, "queues", "watch", *OFTEN) as terminal:
        terminal.wait_for_frame(lambda text: "held" in text, "the view")
        assert not termios.tcgetattr(terminal.slave)[3] & termios.ECHO
        terminal.type(key)
        assert terminal.wait_end() == code
        assert termios.tcgetattr(terminal.slave) == terminal.before
        assert terminal.read().endswith(GIVEN_BACK)


def stopped(process):
    status = pathlib.Path(f"/proc/{process.pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] == "T"


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(busy):
    with Terminal(busy, "queues", "watch", *OFTEN) as terminal:
        terminal.wait_for_frame(lambda text: "held" in text, "the view")
        for width in (60, 100):
            terminal.type("\x1a")
            wait_for(lambda: stopped(terminal.process), "it has stopped")
            assert terminal.read().endswith(GIVEN_BACK)
            assert termios.tcgetattr(terminal.slave) == terminal.before
            terminal.resize(width, 20)  # as people do when a window is in the way
            terminal.process.send_signal(signal.SIGCONT)
            frame = terminal.wait_for_frame(lambda text: "held" in text, "the view again")
            assert fits(frame, width) and len(frame) <= 20
            assert not termios.tcgetattr(terminal.slave)[3] & termios.ECHO
        terminal.type("q")
        assert terminal.wait_end() == 0
        assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.parametrize("view", ["tasks", "queues"])
def test_the_end_of_a_pipe_ends_it_without_a_word(busy, view):
    with subprocess.Popen(
        [BINARY, view, "watch", *OFTEN],
        cwd=busy.folder,
        env=busy.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline()
        process.stdout.close()  # what `head -1` does
        assert process.wait(30) != 0
        assert process.stderr.read() == b""


def test_colours_only_where_wanted(busy):
    with Terminal(busy, "queues", "watch", *OFTEN) as terminal:
        terminal.wait_for_frame(lambda text: "held paused" in text, "the view")
        assert COLOUR.search(terminal.read())
    with Terminal(busy, "queues", "watch", *OFTEN, environment={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for_frame(lambda text: "held paused" in text, "the view")
        assert not COLOUR.search(terminal.read())


def test_a_dumb_terminal_gets_lines(busy):
    with Terminal(busy, "queues", "watch", *OFTEN, environment={"TERM": "dumb"}) as terminal:
        wait_for(lambda: terminal.read().count("pending 3 ") >= 2, "two lines")
        assert "\x1b" not in terminal.read()
        assert fits(terminal.read().splitlines(), 80)


def test_once_prints_one_picture(busy):
    with Terminal(busy, "queues", "watch", "--once", *OFTEN) as terminal:
        assert terminal.wait_end() == 0
        text = COLOUR.sub("", terminal.read())
        assert "\x1b" not in text and "held paused" in text
        assert fits(text.splitlines(), 80)


def test_a_server_that_goes_and_comes_back(new_server):
    server = new_server().start()
    with Terminal(server, "queues", "watch", *OFTEN) as terminal:
        terminal.wait_for_frame(lambda text: "pending 0" in text, "the view")
        server.stop()
        frame = terminal.wait_for_frame(lambda text: "no answer" in text, "that it is away")
        assert fits(frame, 80)
        server.restart()
        terminal.wait_for_frame(lambda text: "no answer" not in text, "that it is back")
        terminal.type("q")
        assert terminal.wait_end() == 0


def lines_of(server, count, *arguments):
    """The first lines that a view prints into a pipe."""
    process = subprocess.Popen(
        [BINARY, *arguments],
        cwd=server.folder,
        env=server.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        return [process.stdout.readline() for _ in range(count)]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("view", ["tasks", "queues"])
def test_a_pipe_gets_a_line_for_each_look(busy, view):
    for line in lines_of(busy, 3, view, "watch", *OFTEN):
        assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z pending 3 running 0 oldest ", line), line
        assert "\x1b" not in line


def test_json_lines(busy):
    first, second = map(json.loads, lines_of(busy, 2, "queues", "watch", "--json", *OFTEN))
    assert first["total"]["submitted_per_s"] is None
    assert second["total"]["submitted_per_s"] >= 0
    held = next(queue for queue in second["queues"] if queue["name"] == "held")
    assert (held["pending"], held["paused"]) == (3, True)
    types = json.loads(lines_of(busy, 1, "tasks", "watch", "--json", *OFTEN)[0])["types"]
    assert "opscore.sleep" in [one["name"] for one in types]


def documented_commands():
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    return re.findall(r"^ {4}opscore ((?:tasks|queues) watch.*)", text, re.MULTILINE)


@pytest.mark.parametrize("command", documented_commands())
def test_the_examples_of_the_documentation(busy, command):
    (line,) = lines_of(busy, 1, *shlex.split(command, comments=True))
    assert "pending" in line


def test_once_in_a_pipe(busy):
    done = busy.cli("queues", "watch", "--once", "--json", *OFTEN)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"]["pending"] == 3


def test_without_a_server_it_says_so(new_server):
    server = new_server()
    done = server.cli("queues", "watch", *OFTEN)
    assert done.returncode == 4 and "opscore up" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("--interval", "1ms"), ("--interval", "soon"), ("some_id", "--once")]
)
def test_what_makes_no_sense_is_refused(busy, arguments):
    done = busy.cli("tasks", "watch", *arguments)
    assert done.returncode == 2, done.stderr
    assert arguments[0] in done.stderr or "--once" in done.stderr
