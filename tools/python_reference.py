"""Writes docs/reference/python.md from the docstrings and signatures of sdk/python.

/usr/bin/python3 tools/python_reference.py          sdk/python/tests/test_docs.py compares the two
"""

import dataclasses
import inspect
import pathlib
import re
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/reference/python.md"
sys.path.insert(0, str(ROOT / "sdk/python"))

HEAD = """# Python

The package `opscore` of `sdk/python`. This page is written by `tools/python_reference.py` from
the package itself; a test compares the two. How to use it: [the guide](../howto/python-client.md).
"""


def words(thing):
    """A docstring without its examples, in Markdown."""
    text = inspect.getdoc(thing) or ""
    return re.split(r"\n\n(?=>>> )", text)[0].strip()


def one_line(thing):
    return " ".join(words(thing).split("\n\n")[0].split())


def signature(name, function):
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]
    shown = str(inspect.Signature(parameters))
    return re.sub(r"<object object at 0x[0-9a-f]+>", "...", f"{name}{shown}")


def methods(kind):
    for name, value in vars(kind).items():
        if name.startswith("_"):
            continue
        if inspect.isfunction(value):
            yield f"`{signature(name, value)}`", one_line(value)
        elif isinstance(value, property):
            yield f"`{name}`", one_line(value)


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def class_section(kind, title):
    yield f"## {title}"
    yield f"    {signature(kind.__name__, kind.__init__)}"
    yield words(kind)
    yield table(("member", "what it does"), methods(kind))


def submit_options(types):
    yield "## Options of a submit"
    yield words(types.SubmitOptions)
    rows = [
        (f"`{name}`", f"`{kind.__forward_arg__}`")
        for name, kind in types.SubmitOptions.__annotations__.items()
    ]
    yield table(("option", "type"), rows)
    yield "\n".join(f"`{name}` is {alias_words(name, types)}" for name in ("Duration", "Time"))


def alias_words(name, types):
    source = inspect.getsource(types)
    return re.search(rf'^{name} = .*\n"""(.*?)"""', source, re.MULTILINE)[1]


def documents(types):
    yield "## What comes back"
    yield (
        "Frozen dataclasses. Fields are named as in [the REST API](rest.md), and times are\n"
        "datetimes; `document` is the answer as it came."
    )
    rows = []
    for name, kind in vars(types).items():
        if dataclasses.is_dataclass(kind) and not name.startswith("_"):
            names = [field.name for field in dataclasses.fields(kind) if field.name != "document"]
            fields = ", ".join(f"`{each}`" for each in names)
            rows.append((f"`{name}`", one_line(kind), fields))
    yield table(("type", "what it is", "fields"), rows)


def error_classes(errors):
    yield "## Errors"
    tree = words(errors).partition("\n\n")[2]
    yield f"```\n{textwrap.dedent(tree).strip()}\n```"
    rows = [
        (f"`{kind.__name__}`", f"`{word}`", kind.advice_for_kind)
        for word, kind in errors.CLASS_OF.items()
    ]
    yield table(("class", "[word](errors.md)", "what to do"), rows)


def functions(module, title):
    yield f"## {title}"
    yield words(module)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isfunction(value):
            yield f"### {signature(name, value)}"
            yield words(value)


def actor_section(actors, context):
    yield "## Actors"
    yield words(actors)
    yield f"### {signature('actor', actors._declare).replace('function, ', '')}"
    yield words(actors.actor)
    own = [
        value
        for value in vars(actors).values()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == actors.__name__
        and not value.__name__.startswith("_")
    ]
    yield table(("name", "what it is"), [(f"`{each.__name__}`", one_line(each)) for each in own])
    yield "### Context"
    yield words(context.Context)
    yield table(("member", "what it does"), methods(context.Context))


def page():
    from opscore import actors, aio, client, context, errors, testing, types

    parts = [HEAD.strip()]
    parts += class_section(client.Client, "Client")
    parts += submit_options(types)
    parts += ["## AsyncClient", words(aio.AsyncClient)]
    parts += documents(types)
    parts += error_classes(errors)
    parts += functions(actors, "opscore.actors")
    parts += class_section(context.Context, "Context")
    parts += actor_section(actors, context)
    parts += functions(testing, "opscore.testing")
    parts += [
        "### opscore.testing.Server",
        words(testing.Server),
        table(("member", "what it does"), methods(testing.Server)),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
