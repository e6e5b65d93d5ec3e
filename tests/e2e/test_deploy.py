"""deploy/: what can be known of it without containers and without systemd as init."""

import os
import re
import shutil
import stat
import subprocess

import pytest
import yaml

from harness.server import BINARY, ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OURS = {"migrate", "api", "worker", "maintenance"}


def run(*command, **options):
    return subprocess.run(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def program(name):
    """A checker that ./dev test installs: in CI a missing one is a failure."""
    if not shutil.which(name) and not os.environ.get("CI"):
        pytest.skip(f"{name} is not installed here")
    return name


def test_compose_takes_it(tmp_path):
    """Checked by the program itself, which holds it against the schema of the specification."""
    text = (DEPLOY / "compose.yaml").read_text()
    if "version 1." in run(program("docker-compose"), "version").stdout:
        text = text.replace("\nname: opscore\n", "\n")  # newer than that
    (tmp_path / "compose.yaml").write_text(text)
    compose = ("docker-compose", "-f", tmp_path / "compose.yaml", "config")
    names = set(re.findall(r"\$\{(\w+):\?", text))
    done = run(*compose, env={"PATH": os.environ["PATH"], **dict.fromkeys(names, "x")})
    assert done.returncode == 0 and not done.stderr, done
    assert set(yaml.safe_load(done.stdout)["services"]) == OURS | {"postgres", "rabbitmq"}
    without = run(*compose, env={"PATH": os.environ["PATH"]})
    assert without.returncode != 0 and "run deploy/generate-env first" in without.stderr


def test_nothing_is_published_beyond_this_machine():
    services = COMPOSE["services"].values()
    published = [port for service in services for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_commands_of_compose_are_commands_of_opscore(tmp_path):
    """The binary takes each with the environment that compose gives it."""
    names = ("POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "OPSCORE_API_TOKEN")
    secrets = {name: name[0].lower() * 48 for name in names}
    for name in OURS - {"migrate"}:
        service = COMPOSE["services"][name]
        environment = {
            key: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: secrets[found[1]], value)
            for key, value in service["environment"].items()
        }
        # Nobody answers at that name.
        environment["DATABASE_URL"] = environment["DATABASE_URL"].replace("@postgres", "@127.0.0.1")
        environment["DATABASE_URL"] = environment["DATABASE_URL"].replace(":5432", ":1")
        command = [*service["command"], "--require-store"]
        if name == "api":
            command += ["--port", "0"]
        done = run(BINARY, *command, cwd=tmp_path, env={"PATH": os.environ["PATH"], **environment})
        assert done.returncode == 1 and "127.0.0.1" in done.stderr, done
        assert "p" * 48 not in done.stdout + done.stderr


def test_secrets_are_made_once(tmp_path):
    shutil.copy(DEPLOY / "generate-env", tmp_path)
    assert run(tmp_path / "generate-env").returncode == 0
    made = (tmp_path / ".env").read_text()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    values = dict(line.split("=", 1) for line in made.splitlines())
    wanted = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    assert set(values) == wanted
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in values.values())
    assert len(set(values.values())) == len(values)
    run(tmp_path / "generate-env")
    assert (tmp_path / ".env").read_text() == made


def test_the_image_has_the_libraries_of_the_binary():
    text = (DEPLOY / "Dockerfile").read_text()
    installed = set(text.split("--no-install-recommends", 1)[1].split("&&")[0].split()) - {"\\"}
    loaded = run("ldd", BINARY).stdout
    linked = run("readelf", "-d", BINARY).stdout
    needed = set()
    for library in re.findall(r"\(NEEDED\).*\[(.*)\]", linked):
        path = re.search(rf"{re.escape(library)} => (\S+)", loaded)[1]
        owner = run("dpkg", "-S", os.path.realpath(path)).stdout.split(":")[0]
        needed.add(owner)
    in_every_image = {"libc6", "libgcc-s1", "libstdc++6", "libssl3"}
    release = re.search(r'VERSION_ID="(\d+)"', open("/etc/os-release", encoding="utf-8").read())
    if release and release[1] == "12":  # others have other names
        assert needed - in_every_image - {""} <= installed
    assert re.search(r"^USER 10001", text, re.MULTILINE)


def test_the_context_of_the_image_is_enough_to_build(tmp_path):
    """What .dockerignore lets through can be configured."""
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    assert patterns[0] == "*"
    kept = [pattern[1:] for pattern in patterns[1:]]
    for name in kept:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    done = run(
        "cmake", "--preset", "release", "-DOPSCORE_TESTS=OFF", "-B", tmp_path / "out", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_systemd_takes_the_unit(tmp_path):
    unit = (DEPLOY / "systemd/opscore@.service").read_text()
    (tmp_path / "opscore@.service").write_text(unit.replace("/usr/local/bin/opscore", str(BINARY)))
    done = run(program("systemd-analyze"), "verify", tmp_path / "opscore@.service")
    assert done.returncode == 0 and not done.stderr, done


def test_the_unit_waits_and_watches():
    unit = (DEPLOY / "systemd/opscore@.service").read_text()
    for line in ("Type=notify", "WatchdogSec=30", "KillMode=mixed", "NoNewPrivileges=yes"):
        assert line in unit.splitlines()
