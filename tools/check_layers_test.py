"""Each rule of the layering check fires on a tree with one fault, and on no other."""

import pathlib

import pytest

import check_layers
from cpp_text import functions, without_comments_and_strings

BASE = "src/opscore/base/"
LONG_BODY = "  work();\n" * 60


def long_function(marker=""):
    return f"void long_one(int x) {{{marker}\n{LONG_BODY}}}\n"


FAULTS = [
    ("include", BASE + "a.h", '#include "opscore/model/task.h"\n'),
    ("include", "src/opscore/store/a.cc", '#include "opscore/broker/broker.h"\n'),
    ("include", "src/opscore/engine/a_test.cc", '#include "opscore/actor/actor.h"\n'),
    ("include", "src/opscore/api/a.cc", '#include "opscore/store/store.h"\n'),
    ("include", "src/opscore/engine/a.cc", '#include "opscore/actor.h"\n'),
    ("include", "src/opscore/app/a.cc", '#include "opscore/nowhere/x.h"\n'),
    ("include", "src/opscore/unknown/a.cc", '#include "opscore/base/error.h"\n'),
    ("include", BASE + "log.h", "#include <spdlog/spdlog.h>\n"),
    ("include", "examples/x/main.cc", '#include "opscore/store/store.h"\n'),
    ("line-length", BASE + "a.cc", "// " + "x" * 98 + "\n"),
    ("line-length", "tools/a.py", "# " + "x" * 99 + "\n"),
    ("file-length", BASE + "a.cc", "int x;\n" * 801),
    ("warning", BASE + "a.cc", "int x;\n" * 501),
    ("header-length", BASE + "a.h", "int x;\n" * 251),
    ("header-length", "src/opscore/actor.h", "int x;\n" * 251),
    ("function-length", BASE + "a.cc", long_function()),
    ("function-length", BASE + "a.cc", "namespace o {\nclass A {\n" + long_function() + "};\n}\n"),
    ("function-length", "tools/a.py", "def long_one():\n" + "    work()\n" * 60),
    ("name", BASE + "string_util.cc", "\n"),
    ("name", BASE + "helpers/a.cc", "\n"),
    ("unfinished", BASE + "a.cc", "// " + "TO" + "DO: later\n"),
    ("unfinished", "tests/e2e/a.py", "# FIX" + "ME\n"),
    ("catch-all", BASE + "a.cc", "void f() { try { g(); } catch (...) {} }\n"),
    ("co_await", BASE + "a.cc", "co_await send({1, 2});\n"),
    ("co_await", BASE + "a.cc", "co_await post(pool,\n  [x] { return x; });\n"),
    ("sleep", BASE + "a_test.cc", "std::this_thread::sleep_for(10ms);\n"),
    ("sleep", "src/opscore/store/conformance/a.cc", "usleep(10);\n"),
    ("sleep", "tests/e2e/test_a.py", "time" + ".sleep(1)\n"),
]

FINE = [
    ("src/opscore/api/a_test.cc", '#include "opscore/store/memory/memory_store.h"\n'),
    ("src/opscore/store/sqlite/a.cc", '#include "opscore/model/task.h"\n#include <sqlite3.h>\n'),
    ("src/opscore/app/a.cc", '#include "opscore/actor.h"\n#include <sys/wait.h>\n'),
    (BASE + "log.h", "#include <fmt/format.h>\n#include <unistd.h>\n#include <vector>\n"),
    (BASE + "thread.cc", "void f() { try { g(); } catch (...) {} }\n"),
    (BASE + "a.cc", long_function("  // layout: table")),
    (BASE + "a.cc", '// co_await f({1}); catch (...)\nauto s = "catch (...)";\n'),
    (BASE + "a.cc", "co_await wait(timer, values[0]);\n"),
    (BASE + "a.cc", "sleep_for(10ms);\n"),
    (BASE + "a.cc", "const Row kRows[] = {\n" + "  {1},\n" * 70 + "};\n"),
    ("examples/x/main.cc", '#include "opscore/actor.h"\n'),
    (BASE + "testdata/a.cc", '#include "opscore/model/task.h"\n'),
]


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def rules_for(root, *files):
    for name, text in files:
        write(root, name, text)
        module = name.split("/")[2] if name.startswith("src/opscore/") else "base"
        write(root, f"src/opscore/{pathlib.Path(module).stem}/README.md", "A module.\n")
    return [rule for _, _, rule, _ in check_layers.check(root)]


@pytest.mark.parametrize("rule, name, text", FAULTS)
def test_a_fault_is_found(tmp_path, rule, name, text):
    assert rules_for(tmp_path, (name, text)) == [rule]


@pytest.mark.parametrize("name, text", FINE)
def test_what_is_allowed_passes(tmp_path, name, text):
    assert rules_for(tmp_path, (name, text)) == []


def test_a_library_has_one_home(tmp_path):
    one = ("src/opscore/net/a.cc", "#include <curl/curl.h>\n")
    two = ("src/opscore/llm/openai/b.cc", "#include <curl/curl.h>\n")
    assert rules_for(tmp_path, one) == []
    assert rules_for(tmp_path, one, two) == ["library"]


def test_readme_of_a_module(tmp_path):
    assert rules_for(tmp_path, (BASE + "a.cc", "\n")) == []
    write(tmp_path, BASE + "README.md", "line\n" * 61)
    assert [p[2] for p in check_layers.check(tmp_path)] == ["readme"]
    (tmp_path / BASE / "README.md").unlink()
    assert [p[2] for p in check_layers.check(tmp_path)] == ["readme"]


def test_the_table_points_only_downward():
    order = list(check_layers.LAYERS)
    for module, allowed in check_layers.LAYERS.items():
        for other in allowed.split():
            assert order.index(other) < order.index(module), (module, other)


def test_problems_name_the_line(tmp_path):
    write(tmp_path, BASE + "README.md", "\n")
    write(tmp_path, BASE + "a.cc", 'int x;\n\n#include "opscore/store/store.h"\n')
    assert check_layers.check(tmp_path)[0][:2] == (BASE + "a.cc", 3)


def test_functions_are_measured_from_signature_to_brace():
    code = without_comments_and_strings(
        'namespace a {\nA::A(int x)\n    : x_{x},\n      s_("}{") {\n  f();\n}\nint y = 1;\n'
        "template <class T>\nauto g(T t) -> int {\n  return [&] { return 1; }();\n}\n}\n"
    )
    assert [last for _, last in functions(code)] == [3, 6, 11]
    assert list(functions(code))[-1] == (8, 11)
