"""Holds the source tree to its layout: who may include whom, sizes, names, forbidden constructs.

    tools/check_layers.py [root]     prints `path:line: rule: what is wrong`, exits 1 if anything is

ARCHITECTURE.md shows the same table of modules. check_layers_test.py proves that each rule fires.
"""

import ast
import pathlib
import re
import sys

from cpp_text import functions, without_comments_and_strings

# Module -> the modules it may include from. app is the composition root: everything.
LAYERS = {
    "base": "",
    "model": "base",
    "process": "base",
    "net": "base",
    "broker": "model base",
    "store": "model base",
    "mcp": "process net base",
    "llm": "net base",
    "actor": "process net model base",
    "agent": "actor llm mcp net model base",
    "engine": "store broker model base",
    "doctor": "engine broker store net model base",
    "worker": "engine actor broker store process model base",
    "api": "engine doctor model base",
    "app": "api worker doctor agent engine actor llm mcp net store broker process model base",
}

# Where `catch (...)` may stand: HTTP handler, gRPC handler, runner, named loop, main.
BOUNDARIES = {
    "src/opscore/api/request_pool.cc",
    "src/opscore/worker/thread_runner.cc",
    "src/opscore/base/thread.cc",
    "src/opscore/app/command_line.cc",
}
# The one place in the tests that pauses: between two looks at a condition.
POLLING = {"tests/harness/waiting.py"}

LINE_MAX = 100
FILE_LINES_MAX, FILE_LINES_SOFT = 800, 500
PUBLIC_HEADER_LINES_MAX = 250
README_LINES_MAX = 60
FUNCTION_LINES_MAX = 60

BANNED_WORDS = {"util", "utils", "common", "helper", "helpers", "manager", "misc"}
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include\s*([<"])([^>"]+)[>"]', re.M)
SLEEP = {
    ".cc": re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\("),
    ".h": re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\("),
    ".py": re.compile(r"\btime\.sleep\s*\(|\bfrom time import .*\bsleep\b"),
}
AWAIT = re.compile(r"\bco_await\b([^;]*)")
TEMPORARY = re.compile(r"[(,]\s*[\[{]")

# Headers of the system: folders of POSIX and Linux, and whatever has no folder, except these.
SYSTEM_FOLDERS = {"sys", "linux", "netinet", "arpa", "net", "asm", "sanitizer", "bits"}
THIRD_PARTY_FILES = {
    "sqlite3.h",
    "libpq-fe.h",
    "amqp.h",
    "amqp_ssl_socket.h",
    "amqp_tcp_socket.h",
    "zlib.h",
}
SHARED_LIBRARIES = {"fmt", "nlohmann", "gtest", "gmock"}

CODE = {".cc", ".h", ".py"}
TOP_FOLDERS = ("src", "tests", "bench", "examples", "fuzz", "tools", "sdk")


class Source:
    """One file of the tree, read once."""

    def __init__(self, root, path):
        self.path = path
        self.name = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8", errors="replace")
        self.lines = self.text.splitlines()
        self.is_cpp = path.suffix in (".cc", ".h")
        parts = self.name.split("/")
        # src/opscore/store/sqlite/x.cc -> store; src/opscore/actor.h belongs to actor.
        self.module = pathlib.Path(parts[2]).stem if parts[:2] == ["src", "opscore"] else None
        self.is_public_header = (
            self.module is not None and path.suffix == ".h" and len(parts) <= 4
        )
        self.is_test = (
            parts[0] == "tests"
            or path.stem.endswith(("_test", "_fixture"))
            or path.stem.startswith("test_")
            or "conformance" in parts
        )
        self.code = without_comments_and_strings(self.text) if self.is_cpp else self.text

    def line_of(self, offset):
        return self.text.count("\n", 0, offset) + 1


def library_of(header):
    """The third-party library a <header> belongs to; None for std, POSIX and Linux."""
    folder, slash, _ = header.partition("/")
    if slash:
        return None if folder in SYSTEM_FOLDERS else folder
    return header if header in THIRD_PARTY_FILES else None


def everything_below(module):
    direct = LAYERS[module].split()
    return set(direct).union(*map(everything_below, direct))


def allowed_for(source):
    """Tests also see what their module stands on, for the in-memory implementations there."""
    if source.is_test:
        return everything_below(source.module)
    return set(LAYERS[source.module].split())


def check_include(source, quote, header):
    if quote == "<":
        library = library_of(header)
        if library and source.is_public_header and library not in SHARED_LIBRARIES:
            yield f"a public header may not include <{header}>: keep {library} in a .cc file"
        return
    if not header.startswith("opscore/"):
        return
    target = pathlib.PurePath(header.split("/")[1]).stem
    if source.name.startswith("examples/") and header != "opscore/actor.h":
        yield f"examples use the public header opscore/actor.h only, not {header}"
    if source.module is None or target == source.module:
        return
    if target not in LAYERS:
        yield f"{header}: there is no module {target}"
    elif source.module not in LAYERS:
        yield f"module {source.module} is not in the table of layers"
    elif target not in allowed_for(source):
        allowed = " ".join(sorted(allowed_for(source))) or "the standard library"
        yield f"{source.module} may not include {header}: only {allowed}"


def check_includes(source):
    for match in INCLUDE.finditer(source.text):
        for problem in check_include(source, match[1], match[2]):
            yield source.line_of(match.start()), "include", problem


def check_sizes(source):
    for number, line in enumerate(source.lines, 1):
        if len(line) > LINE_MAX:
            yield number, "line-length", f"{len(line)} columns, at most {LINE_MAX}"
    count = len(source.lines)
    if count > FILE_LINES_MAX:
        yield count, "file-length", f"{count} lines, at most {FILE_LINES_MAX}"
    elif count > FILE_LINES_SOFT:
        yield count, "warning", f"{count} lines; {FILE_LINES_SOFT} is a good limit for one idea"
    if source.is_public_header and count > PUBLIC_HEADER_LINES_MAX:
        yield count, "header-length", f"public header of {count} lines, at most " + str(
            PUBLIC_HEADER_LINES_MAX
        )


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno


def check_functions(source):
    spans = functions(source.code) if source.is_cpp else python_functions(source.text)
    for first, last in spans:
        if last - first + 1 <= FUNCTION_LINES_MAX:
            continue
        if any("layout: table" in line for line in source.lines[max(0, first - 2) : last]):
            continue
        yield first, "function-length", f"{last - first + 1} lines, at most {FUNCTION_LINES_MAX}"


def check_names(source):
    for part in pathlib.PurePath(source.name).parts:
        banned = BANNED_WORDS & set(re.split(r"[_.\-]", part.lower()))
        if banned:
            yield 1, "name", f"'{part}': say what it does instead of {banned.pop()}"


def check_constructs(source):
    for match in UNFINISHED.finditer(source.text):
        yield source.line_of(match.start()), "unfinished", f"{match[0]}: finish it or file it"
    if source.is_test and source.name not in POLLING:
        for match in SLEEP[source.path.suffix].finditer(source.code):
            yield source.line_of(match.start()), "sleep", "wait for the condition instead"
    if not source.is_cpp:
        return
    if source.name.startswith("src/") and source.name not in BOUNDARIES and not source.is_test:
        for match in re.finditer(r"\bcatch\s*\(\s*\.\.\.\s*\)", source.code):
            yield source.line_of(match.start()), "catch-all", "only at the five boundaries"
    for match in AWAIT.finditer(source.code):
        if TEMPORARY.search(match[1]):
            yield (
                source.line_of(match.start()),
                "co_await",
                "name the argument first: g++ 12 destroys such temporaries twice",
            )


FILE_RULES = (check_includes, check_sizes, check_functions, check_names, check_constructs)


def check_libraries(sources):
    """A third-party library has one home."""
    homes = {}
    for source in sources:
        if source.module is None:
            continue
        for match in INCLUDE.finditer(source.text):
            library = library_of(match[2]) if match[1] == "<" else None
            if library and library not in SHARED_LIBRARIES:
                homes.setdefault(library, {}).setdefault(source.module, source.name)
    for library, modules in sorted(homes.items()):
        if len(modules) > 1:
            places = ", ".join(f"{module} ({name})" for module, name in sorted(modules.items()))
            yield "src/opscore", 1, "library", f"{library} is included in several modules: {places}"


def check_readmes(root, sources):
    for module in sorted({s.module for s in sources if s.module in LAYERS}):
        readme = root / "src/opscore" / module / "README.md"
        name = readme.relative_to(root).as_posix()
        if not readme.exists():
            yield name, 1, "readme", "every module has one: purpose, main types, threads, extending"
            continue
        count = len(readme.read_text(encoding="utf-8").splitlines())
        if count > README_LINES_MAX:
            yield name, count, "readme", f"{count} lines, at most {README_LINES_MAX}"


def read_tree(root):
    return [
        Source(root, path)
        for folder in TOP_FOLDERS
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in CODE and "testdata" not in path.parts and path.is_file()
    ]


def check(root):
    """All problems of the tree, as (path, line, rule, words), warnings among them."""
    sources = read_tree(root)
    problems = [
        (source.name, *problem)
        for source in sources
        for rule in FILE_RULES
        for problem in rule(source)
    ]
    problems += check_libraries(sources)
    problems += check_readmes(root, sources)
    return problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    root = root if root.is_dir() else root.parent.parent
    problems = check(root)
    for name, line, rule, words in problems:
        print(f"{name}:{line}: {rule}: {words}")
    errors = sum(rule != "warning" for _, _, rule, _ in problems)
    print(f"layering: {errors} problems, {len(problems) - errors} warnings")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
