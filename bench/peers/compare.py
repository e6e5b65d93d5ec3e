"""opscore and its peers on the same PostgreSQL and RabbitMQ, in turns; medians and ratios.

Tasks are loaded by one process and drained by a fresh one. bench/peers/README.md says what each
contender does. The services are throw-away ones below build/, unless OPSCORE_SERVICES names a
folder of `./dev services`: then those, which are left running.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from install import HERE, NODE_MODULES, PYTHON, install_node, install_python

ROOT = HERE.parents[1]
SERVICES = ROOT / "tools" / "services.sh"
ONE, MANY, DRAIN = "submit, one a call", "submit, 1,000 a call", "drain"


@dataclass
class Contender:
    title: str
    command: list
    bulk: bool = True  # takes many tasks in one call
    rabbitmq: bool = False


ROLES = [PYTHON, HERE / "opscore_roles.py"]
CONTENDERS = {
    "opscore": Contender("opscore, PostgreSQL", ROLES),
    "opscore-rabbitmq": Contender("opscore, PostgreSQL + RabbitMQ", ROLES, rabbitmq=True),
    "dramatiq": Contender(
        "Dramatiq, RabbitMQ + a row a task",
        [PYTHON, HERE / "dramatiq_records.py"],
        bulk=False,
        rabbitmq=True,
    ),
    "graphile": Contender(
        "graphile-worker, batched (deletes its jobs)", ["node", HERE / "graphile.cjs"]
    ),
}
# Who is compared with whom: those on the same services.
RIVALS = [("opscore-rabbitmq", "dramatiq"), ("opscore", "graphile")]


def call(*command, **options):
    """What it prints."""
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, text=True, check=False, **options
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {done.returncode}")
    return done.stdout.strip()


@contextlib.contextmanager
def services():
    """Their URLs, in the environment."""
    with contextlib.ExitStack() as cleanup:
        if "OPSCORE_SERVICES" not in os.environ:
            folder = cleanup.enter_context(
                tempfile.TemporaryDirectory(prefix="bench-peers-", dir=ROOT / "build")
            )
            if call("stat", "-f", "-c", "%T", folder) in ("tmpfs", "ramfs"):
                raise SystemExit("build/ is on tmpfs; acknowledged must mean on disk")
            os.chmod(folder, 0o755)  # PostgreSQL does not run as root
            os.environ["OPSCORE_SERVICES"] = f"{folder}/services"
            cleanup.callback(call, SERVICES, "stop")
        call(SERVICES, "start", "postgres", "rabbitmq")
        lines = call(SERVICES, "env").splitlines()
        os.environ.update(line.split("=", 1) for line in lines)
        yield


def query(statement):
    return call("psql", "-XAtq", "-d", os.environ["DATABASE_URL"], "-c", statement)


def seconds(contender, *arguments):
    environment = {**os.environ, "NODE_PATH": str(NODE_MODULES)}
    if not contender.rabbitmq:
        environment.pop("RABBITMQ_URL")
    query("CHECKPOINT")  # nobody pays for what another wrote
    return json.loads(call(*contender.command, *arguments, env=environment))["seconds"]


def one_run(contender, tasks):
    """Tasks a second of each thing that can be measured of it."""
    seconds(contender, "reset")
    if not contender.bulk:
        tasks = max(tasks // 5, 1)  # enough for one that takes them one by one
    singles = max(tasks // 20, 1) if contender.bulk else tasks
    rates = {ONE: singles / seconds(contender, "submit", singles)}
    if contender.bulk:
        rates[MANY] = (tasks - singles) / seconds(contender, "submit-many", tasks - singles)
    rates[DRAIN] = tasks / seconds(contender, "drain", tasks)
    return rates


def run_in_turns(names, tasks, runs):
    measured = {name: [] for name in names}
    for number in range(runs):
        shift = number % len(names)  # nobody always follows the same one
        for name in names[shift:] + names[:shift]:
            measured[name].append(one_run(CONTENDERS[name], tasks))
            print(f"run {number + 1} of {runs}: {CONTENDERS[name].title}", file=sys.stderr)
    return {
        name: {
            what: {
                "median": statistics.median(run[what] for run in of),
                "runs": [run[what] for run in of],
            }
            for what in of[0]
        }
        for name, of in measured.items()
    }


def ratios(results):
    """How many times as fast opscore is; by its fastest way where the rival has only one."""
    found = []
    for ours, theirs in RIVALS:
        if ours not in results or theirs not in results:
            continue
        for what, rate in results[ours].items():
            rival_does = what if what in results[theirs] else ONE
            ratio = rate["median"] / results[theirs][rival_does]["median"]
            found.append(
                {"of": ours, "what": what, "to": theirs, "to_what": rival_does, "ratio": ratio}
            )
    return found


def versions(names):
    words = call(ROOT / "build" / "opscore", "version").split(maxsplit=2)
    found = {"opscore": f"{words[1]} {words[2]}"}
    found["PostgreSQL"] = query("SHOW server_version")
    found["RabbitMQ"] = call(SERVICES, "rabbitmqctl", "version")
    if "dramatiq" in names:
        pins = (HERE / "requirements.txt").read_text(encoding="utf-8")
        found["Dramatiq"] = re.search(r"^dramatiq\S*==(\S+)", pins, re.M)[1]
        found["Python"] = call(PYTHON, "--version").split()[1]
    if "graphile" in names:
        pins = json.loads((HERE / "package.json").read_text(encoding="utf-8"))
        found["graphile-worker"] = pins["dependencies"]["graphile-worker"]
        found["node"] = call("node", "--version")
    return found


def durability():
    """Acknowledged has to mean on disk, for everyone."""
    settings = {name: query(f"SHOW {name}") for name in ("fsync", "synchronous_commit")}
    if set(settings.values()) != {"on"}:
        raise SystemExit(f"PostgreSQL is not durable: {settings}")
    return settings


def print_table(report):
    print(", ".join(f"{name} {value}" for name, value in report["versions"].items()))
    print(
        f"{report['cores']} cores for all, load {report['load']:.1f} before; "
        f"{report['tasks']} tasks of 200 B (Dramatiq: a fifth); "
        f"tasks/s, medians of {report['runs']} [smallest .. largest], in turns"
    )
    for name, result in report["results"].items():
        print(CONTENDERS[name].title)
        for what, rate in result.items():
            low, high = min(rate["runs"]), max(rate["runs"])
            print(f"  {what:22} {rate['median']:10,.0f}  [{low:,.0f} .. {high:,.0f}]")
    for ratio in report["ratios"]:
        ours, theirs = f"{ratio['what']} of {ratio['of']}", ratio["to"]
        if ratio["to_what"] != ratio["what"]:
            theirs = f"{ratio['to_what']} of {theirs}"
        print(f"{ratio['ratio']:6.1f} times: {ours}, against {theirs}")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench --peers", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000, help="Dramatiq gets a fifth")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=",".join(CONTENDERS), help="some of %(default)s")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(CONTENDERS):
        parser.error(f"--only: no {', '.join(unknown)}; there are {', '.join(CONTENDERS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # services end with this process
    install_python()
    if "graphile" in names:
        install_node()
    with services():
        report = {
            "versions": versions(names),
            "settings": durability(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "tasks": options.tasks,
            "runs": options.runs,
            "results": run_in_turns(names, options.tasks, options.runs),
        }
    report["ratios"] = ratios(report["results"])
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print_table(report)


if __name__ == "__main__":
    main()
