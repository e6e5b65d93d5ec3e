"""Applications in Python for servers to host."""

import subprocess
import sys
import textwrap


def host(server, source, settings="", modules=("app",)):
    """Writes app.py into the server's folder and has the server host it, in this interpreter."""
    (server.folder / "app.py").write_text(textwrap.dedent(source))
    named = ", ".join(f'"{module}"' for module in modules)
    server.configure(
        f'[python]\nmodules = [{named}]\ninterpreter = "{sys.executable}"\n'
        + textwrap.dedent(settings)
    )
    return server


def children_of(server):
    """The process ids of its interpreters."""
    found = []
    for line in subprocess.run(
        ["ps", "-wweo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines():
        pid, parent, *words = line.split(None, 2)
        if int(parent) == server.worker_pid() and "report_imports_ms" in " ".join(words):
            found.append(int(pid))
    return sorted(found)
