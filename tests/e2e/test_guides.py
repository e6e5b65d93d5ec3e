"""The examples of docs/howto/exec-actor.md and agent.md, as they stand there."""

import json
import re
import shlex

from harness.server import ROOT


def blocks(page, language):
    text = (ROOT / "docs" / "howto" / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_documented_program(new_server):
    server = new_server()
    (toml,), (python,) = blocks("exec-actor.md", "toml"), blocks("exec-actor.md", "python")
    program = server.folder / "render.py"
    program.write_text(python)
    program.chmod(0o755)
    server.configure(toml)
    server.start()
    guide = (ROOT / "docs" / "howto" / "exec-actor.md").read_text(encoding="utf-8")
    command = re.search(r"^    opscore (submit .*)$", guide, re.MULTILINE)[1]
    done = server.cli(*shlex.split(command))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0]) == {"url": "/reports/q3.pdf"}
    assert "rendered q3" in server.output(), "a log line"


def test_the_documented_agent_is_accepted_as_configured(new_server):
    server = new_server(environment={"OPENAI_API_KEY": "sk-x", "WORK_LLM_KEY": "k"})
    server.configure(blocks("agent.md", "toml")[0])
    server.add_program("shell.word_count", "#!/bin/sh\nwc -w\n")
    rest = server.start().rest
    assert server.cli("config", "check").returncode == 0
    for asked in (
        json.loads(blocks("agent.md", "json")[0]),
        {"prompt": "p", "agent_config": {"provider": "work"}},
        {"prompt": "p"},
    ):
        rest.submit("agent_task", asked, delay="1h")


def test_the_documented_rehearsal(new_server):
    server = new_server()
    server.configure(blocks("agent.md", "toml")[1])
    (server.folder / "rehearsal.json").write_text(blocks("agent.md", "json")[2])
    asked = {"prompt": "What is 6 * 7?", "agent_config": {"provider": "rehearsal"}}
    result = server.start().rest.run("agent_task", asked)["result"]
    assert result["answer"] == "The answer is 42."
