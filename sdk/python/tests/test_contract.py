"""The package against api/openapi.yaml, docs/reference/errors.md and itself."""

import dataclasses
import inspect
import pickle
import re

import pytest
import yaml

import opscore
from conftest import ROOT
from opscore import _calls, aio, client, errors, types

SCHEMAS = yaml.safe_load((ROOT / "api/openapi.yaml").read_text())["components"]["schemas"]
PATHS = yaml.safe_load((ROOT / "api/openapi.yaml").read_text())["paths"]
DOCUMENTS = ("Task", "TaskError", "Submitted", "Event", "Queue", "Actor", "Explanation")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_have_the_fields_of_the_contract(name):
    ours = {field.name for field in dataclasses.fields(getattr(types, name))} - {"document"}
    theirs = set(SCHEMAS[name]["properties"])
    compat_only = {"output_data"}
    assert ours - {"replayed"} == theirs - compat_only


def test_submit_takes_what_the_contract_has():
    assert _calls.FIELDS == set(SCHEMAS["TaskSubmit"]["properties"])


def test_filters_are_those_of_the_contract():
    names = {each["name"] for each in PATHS["/api/v1/tasks"]["get"]["parameters"]}
    ours = _calls.FILTERS | {"limit", "cursor"}
    assert {"label" if name == "labels" else name for name in ours} == names - {"type"}


def test_every_word_of_the_reference_is_a_class_with_advice():
    text = (ROOT / "docs/reference/errors.md").read_text()
    assert set(errors.CLASS_OF) == set(re.findall(r"^## (\S+)$", text, re.MULTILINE))
    for kind in errors.CLASS_OF.values():
        assert kind.__name__.lower().replace("server", "") == kind.kind.replace("-", "")
        assert kind.advice_for_kind.endswith(".")


def methods(kind):
    return {
        name: value
        for name, value in vars(kind).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }


def test_both_clients_have_the_same_methods():
    blocking, awaited = methods(client.Client), methods(aio.AsyncClient)
    assert blocking.keys() == awaited.keys()
    for name, method in blocking.items():
        ours, theirs = inspect.signature(method), inspect.signature(awaited[name])
        assert ours.parameters == theirs.parameters, name
        assert method.__doc__ and awaited[name].__doc__, name


def test_errors_survive_a_pickle():
    task = types.Task.from_json({"task_id": "a", "task_type": "t", "status": "failed"})
    for error in (
        errors.problem("x", 429, {"type": errors.URN + "queue-full", "detail": "full"}, 3.0),
        errors.ConnectionFailed("x", "y", "z", sent=True),
        errors.WaitTimeout(task, 1.0),
        errors.TaskCancelled(task),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error) and str(copy) == str(error)
        assert copy.__dict__ == error.__dict__


def test_all_names_that_are_offered_exist():
    for name in opscore.__all__:
        assert getattr(opscore, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        opscore.nothing_of_this_name


def test_importing_the_package_loads_nothing_else(python):
    script = (
        "import sys, opscore; print([m for m in sys.modules if m.startswith(('opscore.', 'http'))])"
    )
    assert python("-c", script).stdout.strip() == "[]"
