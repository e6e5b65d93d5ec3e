"""What a program in a sandbox tries in order to get out; run by opscore, see test_sandbox.py.

Reads {"try": NAME, ...} on stdin and prints what came of it as JSON."""

import ctypes
import errno
import json
import os
import pathlib
import signal
import socket
import sys


def outcome(action):
    """"done", or the name of the error."""
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
    return "done"


def write(task):
    return {path: outcome(lambda p=path: pathlib.Path(p).write_text("x")) for path in task["paths"]}


def read(task):
    found = {}
    for path in task["paths"]:
        try:
            found[path] = pathlib.Path(path).read_bytes()[:200].decode(errors="replace")
        except OSError as error:
            found[path] = {"error": errno.errorcode[error.errno]}
    return found


def link(task):
    os.unlink(task["path"])
    os.symlink(task["to"], task["path"])


def listing(task):
    return {path: sorted(os.listdir(path)) for path in task["paths"] if os.path.isdir(path)}


def environments(_):
    """Of every process that can be seen, with what those processes are."""
    seen = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                seen[entry.name] = (entry / "environ").read_text(errors="replace")
            except OSError as error:
                seen[entry.name] = errno.errorcode[error.errno]
    return seen


def connect(task):
    def tcp():
        socket.create_connection(("127.0.0.1", task["port"]), timeout=5).close()

    def abstract():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("\0" + task["abstract"])

    def resolve():
        socket.getaddrinfo("example.com", 443)

    def udp():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", ("192.0.2.1", 53))

    interfaces = [name for _, name in socket.if_nameindex()]
    return {
        "tcp": outcome(tcp),
        "abstract": outcome(abstract),
        "dns": outcome(resolve),
        "udp": outcome(udp),
        "interfaces": interfaces,
    }


def fork(task):
    """Starts so many processes that only sleep; how many it got."""
    started = 0
    for _ in range(task["processes"]):
        try:
            if os.fork() == 0:
                signal.pause()
        except OSError:
            break
        started += 1
    return started


def fill(task):
    """How many bytes fit."""
    block, written = b"x" * 65536, 0
    with open(task["path"], "wb", buffering=0) as file:
        while written < task["most"]:
            try:
                written += file.write(block)
            except OSError as error:
                return {"bytes": written, "error": errno.errorcode[error.errno]}
    return {"bytes": written, "error": None}


def kill(task):
    return {str(pid): outcome(lambda p=pid: os.kill(p, 9)) for pid in task["pids"]}


def ptrace(task):
    libc = ctypes.CDLL(None, use_errno=True)

    def attach(pid):
        if libc.ptrace(16, pid, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    return {str(pid): outcome(lambda p=pid: attach(p)) for pid in task["pids"]}


def daemon(task):
    """Leaves a process behind that has a session of its own and no environment."""
    alive, say = os.pipe()
    os.set_inheritable(say, True)
    code = f"import os, signal; os.write({say}, b'x'); signal.pause()"
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 3)
            os.execve(sys.executable, ["python3", "-c", code, task["name"]], {})
        os._exit(0)
    os.wait()
    return os.read(alive, 1).decode()


def privileges(_):
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newuser, ms_remount_bind = 0x10000000, 0x20 | 0x1000

    def unshare():
        if libc.unshare(clone_newuser) != 0:
            raise OSError(ctypes.get_errno(), "unshare")

    def remount():
        if libc.mount(None, b"/", None, ms_remount_bind, None) != 0:
            raise OSError(ctypes.get_errno(), "mount")

    status = pathlib.Path("/proc/self/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    # What is there already, so that nothing changes should it work.
    setting = pathlib.Path("/proc/sys/kernel/core_pattern")
    return {
        "capabilities": int(fields["CapEff"], 16) | int(fields["CapBnd"], 16),
        "no_new_privileges": fields["NoNewPrivs"],
        "unshare": outcome(unshare),
        "remount": outcome(remount),
        "sysctl": outcome(lambda: setting.write_text(setting.read_text())),
        "mknod": outcome(lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0))),
        "session": os.getsid(0) != os.getpid(),
        "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    }


if __name__ == "__main__":
    request = json.load(sys.stdin)
    json.dump(globals()[request["try"]](request), sys.stdout)
