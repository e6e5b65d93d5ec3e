"""Installs the peers below build/peers, as requirements.txt and package-lock.json pin them."""

import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / "build" / "peers"
PYTHON = FOLDER / "python" / "bin" / "python"
NODE_MODULES = FOLDER / "node" / "node_modules"


def install(target, lock, words, *commands):
    """Unless it was done with this lock file, to its end."""
    wanted, done = (HERE / lock).read_bytes(), target / "installed"
    if done.exists() and done.read_bytes() == wanted:
        return
    print(f"Installing {words} into {target}, pinned by bench/peers/{lock}", file=sys.stderr)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for command in commands:
        subprocess.run(list(map(str, command)), check=True, cwd=target)
    done.write_bytes(wanted)


def install_python():
    options = ["--quiet", "--disable-pip-version-check", "--no-cache-dir", "--require-hashes"]
    install(
        FOLDER / "python",
        "requirements.txt",
        "Dramatiq, pika and psycopg2 from PyPI",
        [sys.executable, "-m", "venv", "."],
        [PYTHON, "-m", "pip", "install", *options, "-r", HERE / "requirements.txt"],
    )


def install_node():
    install(
        FOLDER / "node",
        "package-lock.json",
        "graphile-worker, pg and what they need from npm",
        ["cp", HERE / "package.json", HERE / "package-lock.json", "."],
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
    )
