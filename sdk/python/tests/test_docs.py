"""Every example in docstrings and in the guide is run against a server."""

import asyncio
import doctest
import importlib
import pkgutil
import re

import pytest

import opscore
from conftest import ROOT, SDK


def needs_dramatiq(module):
    source = (SDK / module.replace(".", "/")).with_suffix(".py")
    return source.exists() and re.search(r"^(from|import) dramatiq", source.read_text(), re.M)


MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(opscore.__path__, "opscore.")
    if not needs_dramatiq(module.name) and not module.name.endswith("._guard")
)
PAGES = ["docs/howto/python-client.md"]


@pytest.fixture
def names(opscore_server, monkeypatch):
    monkeypatch.setenv("OPSCORE_URL", opscore_server.url)
    with opscore.Client() as client:
        yield {"client": client, "asyncio": asyncio}


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name, names, capsys):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS)
    assert not failed, capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES)
def test_examples_in_pages(page, names, capsys):
    failed, tried = doctest.testfile(
        str(ROOT / page), module_relative=False, globs=names, optionflags=doctest.ELLIPSIS
    )
    assert tried and not failed, capsys.readouterr().out


def test_the_reference_is_as_the_package(python):
    """Write it with: /usr/bin/python3 tools/python_reference.py"""
    script = "import python_reference as reference; print(reference.page(), end='')"
    done = python("-c", script, cwd=ROOT / "tools")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / "docs/reference/python.md").read_text()
