"""docs/tutorial.md, typed from top to bottom: every answer is as shown."""

import re
import subprocess

from harness.server import BINARY, ROOT
from harness.waiting import wait_for

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
TASK = re.compile(r"task_[0-9a-f-]{36}")
VARIES = [
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "WHEN"),
    (re.compile(r"\b[\w.-]+:\d+(?=[): ])|\bworker \d+\b|\bworker_lost: .*"), "WORKER"),
    (re.compile(r"\b\d+(ms|s)\b"), "WHEN"),
    (re.compile(r"\s(pending|running)$"), " STATE"),
    (re.compile(r"\s+"), " "),
]
# Python's own words, which differ from version to version, and what only a terminal shows.
NOT_OURS = re.compile(
    r"Traceback|.*; follow it with|  File |    |KeyError|running  attempt|\.\.\.$"
)


def plain(line):
    for pattern, word in VARIES:
        line = pattern.sub(word, line)
    return line.strip()


def steps():
    """("type", command, answer) and ("start",), in the order of the text."""
    found, command = [], None
    for line in re.sub(r"\n```.*?\n```", "", TUTORIAL, flags=re.DOTALL).splitlines():
        if line.startswith("    $ "):
            command = ("type", line[6:], [])
            found.append(command)
        elif command and command[1].endswith("\\") and not command[2]:
            found[-1] = command = ("type", f"{command[1]}\n{line}", [])
        elif command and line.startswith("    "):
            command[2].append(line[4:])
        elif line:
            command = None
            if "`./dev up` again" in line:
                found.append(("start",))
    return found


def block(language):
    return re.search(rf"```{language}\n(.*?)```", TUTORIAL, re.DOTALL)[1]


class Reader:
    """Types commands. The ids of the text stand for those of the tasks here."""

    def __init__(self, server):
        self.server, self.ids = server, {}

    def own(self, text):
        for told, own in self.ids.items():
            text = text.replace(told, own)
        return text

    def run(self, command):
        ran = subprocess.run(
            ["bash", "-c", self.own(command).replace(":8000", f":{self.server.port}")],
            cwd=self.server.folder,
            env=self.server.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return (ran.stdout + ran.stderr).replace(f":{self.server.port}", ":8000")

    def missing(self, command, answer):
        """The lines of the answer that the command does not print."""
        said = self.run(command)
        new = [told for told in TASK.findall("\n".join(answer)) if told not in self.ids]
        self.ids.update(zip(new, TASK.findall(said)))
        lines = {plain(line) for line in said.splitlines()}
        wanted = [plain(self.own(line)) for line in answer if line and not NOT_OURS.match(line)]
        return [line for line in wanted if line not in lines] and (wanted, said)

    def type(self, command, answer):
        if command.startswith("kill"):  # whoever types it is not so fast
            task_id = list(self.ids.values())[-1]
            wait_for(lambda: self.server.rest.task(task_id)["started_at"], "it has started")
        if not re.search("tasks show|explain", command):
            missing = self.missing(command, answer)
            if missing and "opscore.crash" in command and "Empty reply" in missing[1]:
                # The task took the server with it before that could say that it has the task.
                missing = self.missing(command, answer)
            assert not missing, f"{command}: {missing}"
            return
        last = []  # people look again until it is done

        def look():
            last[:] = [self.missing(command, answer)]
            return not last[0]

        wait_for(look, lambda: f"{command}: {last}", 60)


def test_every_command_answers_as_the_tutorial_says(new_server):
    server = new_server()
    folder = server.folder
    (folder / "opscore.toml").write_text(
        (ROOT / "opscore.toml").read_text() + f"\n[server]\nport = {server.port}\n"
    )
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "build").mkdir()
    (folder / "build" / "opscore").symlink_to(BINARY)
    server.start()
    upper = folder / "my" / "upper.py"
    upper.parent.mkdir()
    upper.write_text(block("python"))
    upper.chmod(0o755)
    server.configure(block("toml"))
    reader = Reader(server)
    typed = 0
    for step in steps():
        if step[0] == "start":
            server.process.wait(30)
            server.start()
        else:
            reader.type(*step[1:])
            typed += 1
    assert typed > 20
