"""Bodies that the real Dramatiq wrote, as submits of tasks."""

import json

import pytest

from conftest import ROOT
from opscore import errors
from opscore.dramatiq import mapping

GOLDEN = ROOT / "src/opscore/broker/testdata/dramatiq"
MESSAGES = sorted(path.stem for path in GOLDEN.glob("[0-9]*.json"))


def body(name):
    return (GOLDEN / f"{name}.json").read_bytes()


def message(**fields):
    plain = {
        "queue_name": "default",
        "actor_name": "add",
        "args": [],
        "kwargs": {},
        "options": {},
        "message_id": "m-1",
        "message_timestamp": 1_700_000_000_000,
    }
    return json.dumps({**plain, **fields}).encode()


def submission(is_agent=False, **fields):
    return mapping.submission(message(**fields), is_agent)


def options_of(**options):
    return submission(options=options).options


@pytest.mark.parametrize("name", MESSAGES)
def test_every_golden_body_is_submitted_or_refused_by_name(name):
    sent = json.loads(body(name))
    followers = [each for each in mapping.AT_THE_END if sent["options"].get(each)]
    if followers:
        with pytest.raises(mapping.NotCarried, match=f"{followers[0]}.*RabbitMQ"):
            mapping.submission(body(name), is_agent=False)
        return
    task = mapping.submission(body(name), is_agent=False)
    assert task.task_type == sent["actor_name"]
    assert task.options["queue"] == sent["queue_name"].replace(".DQ", "")
    assert task.options["metadata"]["dramatiq"]["message_id"] == sent["message_id"]
    json.dumps(task.input_data, allow_nan=False).encode()
    if "dramatiq_lossy" not in task.options["metadata"] and "\\ud8" not in body(name).decode():
        assert task.input_data == {"args": sent["args"], "kwargs": sent["kwargs"]}


def test_golden_bodies_are_there():
    assert len(MESSAGES) >= 30


def test_the_id_is_the_wanted_one_or_the_messages():
    assert submission().options["task_id"] == "m-1"
    assert submission(kwargs={"task_id": "mine"}).options["task_id"] == "mine"
    for no_id in (7, "", "with space", "-x", "x" * 129, None):
        assert submission(kwargs={"task_id": no_id}).options["task_id"] == "m-1"


def test_a_wanted_id_that_is_taken_is_kept_in_the_metadata():
    task = mapping.with_derived_id(submission(kwargs={"task_id": "mine"}), "m-1")
    assert task.options["task_id"] == "m-1"
    assert task.options["metadata"]["dramatiq_task_id"] == "mine"
    assert task.options["metadata"]["dramatiq"]["message_id"] == "m-1"


def test_retries_become_attempts():
    assert options_of(max_retries=3)["max_attempts"] == 4
    assert options_of(max_retries=0)["max_attempts"] == 1
    assert options_of(max_retries=None)["max_attempts"] == 0
    assert "max_attempts" not in options_of()


def test_backoff_has_dramatiqs_defaults_for_the_end_that_is_not_given():
    both = options_of(min_backoff=100, max_backoff=5000)["backoff"]
    assert both == {"min": "100ms", "max": "5000ms", "factor": 2, "jitter": [1, 2]}
    assert options_of(min_backoff=100)["backoff"]["max"] == "604800000ms"
    assert options_of(max_backoff=60_000)["backoff"]["min"] == "15000ms"
    assert options_of(max_backoff=1000)["backoff"]["min"] == "1000ms"
    assert options_of(max_backoff=10**12)["backoff"]["max"] == "604800000ms"


def test_times():
    options = options_of(eta=1_700_000_060_500, time_limit=1500, max_age=120_000)
    assert options["run_at"] == "2023-11-14T22:14:20.500+00:00"
    assert options["timeout"] == "1500ms"
    assert options["deadline"] == "2023-11-14T22:15:20.000+00:00"


def test_priority_is_bounded():
    assert options_of(broker_priority=5)["priority"] == 5
    assert options_of(broker_priority=255)["priority"] == 100
    assert "priority" not in options_of(broker_priority=None)


def test_an_agent_gets_its_keyword_arguments():
    kwargs = {"task_id": "mine", "goal": "What is 6 * 7?", "input_data": {"x": 1}}
    task = submission(is_agent=True, actor_name="execute_agent_task_actor", kwargs=kwargs)
    assert task.input_data == {"goal": "What is 6 * 7?", "input_data": {"x": 1}}
    assert task.options["task_id"] == "mine"
    with pytest.raises(mapping.NotCarried, match="keyword arguments only"):
        submission(is_agent=True, args=["goal"])


def test_what_strict_json_cannot_say():
    text = message().replace(b'"args": []', b'"args": [NaN, {"x": -Infinity}, "\\ud800", 10]')
    task = mapping.submission(text, is_agent=False)
    assert task.input_data["args"] == [None, {"x": None}, "\\ud800", 10]
    assert task.options["metadata"]["dramatiq_lossy"] == ["args[0]", "args[1].x"]
    many = message().replace(b"[]", b"[" + b"NaN," * 500 + b"1]")
    lossy = mapping.submission(many, is_agent=False).options["metadata"]["dramatiq_lossy"]
    assert len(lossy) == mapping.LOSSY_PLACES_MAX


def test_other_encoders_than_json():
    with pytest.raises(errors.Invalid, match="JSONEncoder"):
        mapping.submission(b"\x80\x04K\x01.", is_agent=False)
