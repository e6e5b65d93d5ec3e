"""Bodies that the real Dramatiq wrote, as submits of tasks."""

import json

import pytest

from conftest import ROOT
from opscore import errors, types
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


def actor(kind="exec", **fields):
    plain = {"task_type": "add", "kind": kind, "max_attempts": None, "timeout": None}
    return types.Actor.from_json({**plain, **fields})


def submission(known=None, **fields):
    return mapping.submission(message(**fields), known or actor())


def options_of(known=None, **options):
    return submission(known, options=options).options


@pytest.mark.parametrize("name", MESSAGES)
def test_every_golden_body_is_submitted_or_refused_by_name(name):
    sent = json.loads(body(name))
    followers = [each for each in mapping.AT_THE_END if sent["options"].get(each)]
    if followers:
        with pytest.raises(mapping.NotCarried, match=f"{followers[0]}.*RabbitMQ"):
            mapping.submission(body(name), actor())
        return
    task = mapping.submission(body(name), actor())
    assert task.options["queue"] == sent["queue_name"].replace(".DQ", "")
    assert task.options["metadata"]["dramatiq_message_id"] == sent["message_id"]
    json.dumps(task.input_data, allow_nan=False).encode()
    if "dramatiq_lossy" not in task.options["metadata"] and "\\ud8" not in body(name).decode():
        assert task.input_data == {"args": sent["args"], "kwargs": sent["kwargs"]}


def test_golden_bodies_are_there():
    assert len(MESSAGES) >= 30


def test_the_id_is_the_wanted_one_or_the_messages():
    assert submission().options["task_id"] == "m-1"
    assert submission(kwargs={"task_id": "mine"}).options["task_id"] == "mine"
    for no_id in ("with space", "-x", "x" * 129, "batch"):
        options = submission(kwargs={"task_id": no_id}).options
        assert options["task_id"] == "m-1" and options["metadata"]["dramatiq_task_id"] == no_id
    for no_text in (7, "", None):
        options = submission(kwargs={"task_id": no_text}).options
        assert options["task_id"] == "m-1" and "dramatiq_task_id" not in options["metadata"]


def test_a_wanted_id_that_is_taken_is_kept_in_the_metadata():
    task = mapping.with_derived_id(submission(kwargs={"task_id": "mine"}))
    assert task.options["task_id"] == mapping.derived_id("m-1")
    assert task.options["metadata"]["dramatiq_task_id"] == "mine"
    assert task.options["metadata"]["dramatiq_message_id"] == "m-1"


def test_retries_become_attempts():
    assert options_of(max_retries=3)["max_attempts"] == 4
    assert options_of(max_retries=0)["max_attempts"] == 1
    assert options_of(max_retries=None)["max_attempts"] == 0
    assert options_of(max_retries=3, retries=2)["max_attempts"] == 2
    assert options_of(max_retries=3, retries=9)["max_attempts"] == 1


def test_backoff_is_doubled_and_bounded():
    both = options_of(min_backoff=100, max_backoff=5000)["backoff"]
    assert both == {"min": "200ms", "max": "5000ms", "factor": 2, "jitter": [0.5, 1]}
    assert options_of(min_backoff=100)["backoff"]["max"] == "604800000ms"
    assert options_of(max_backoff=60_000)["backoff"]["min"] == "30000ms"
    assert options_of(max_backoff=10**12)["backoff"]["max"] == "604800000ms"
    assert options_of(min_backoff=1, max_backoff=1)["backoff"]["min"] == "1ms"
    assert options_of(max_backoff=1000)["backoff"]["min"] == "1000ms"
    assert options_of(min_backoff=-5)["backoff"]["min"] == "0ms"


def test_times():
    options = options_of(eta=1_700_000_060_500, time_limit=1500, max_age=120_000)
    assert options["run_at"] == "2023-11-14T22:14:20.500+00:00"
    assert options["timeout"] == "1500ms"
    assert options["deadline"] == "2023-11-14T22:15:20.000+00:00"
    assert options_of(time_limit=float("inf"))["timeout"] == "2592000000ms"
    assert "deadline" not in options_of(max_age=0)


def test_the_declaration_comes_before_dramatiqs_defaults_and_after_the_message():
    plain = options_of()
    assert (plain["max_attempts"], plain["timeout"]) == (21, "600000ms")
    assert plain["backoff"]["min"] == "30000ms" and plain["backoff"]["max"] == "604800000ms"
    backoff = {"min": "1s", "max": "9s", "factor": 3, "jitter": [0, 1]}
    declared = actor(max_attempts=3, timeout="7s", backoff=backoff)
    found = options_of(declared)
    assert (found["max_attempts"], found["timeout"]) == (3, "7s")
    assert found["backoff"] == backoff
    assert options_of(declared, max_backoff=60_000)["backoff"] == {**backoff, "max": "60000ms"}
    found = options_of(declared, max_retries=5, time_limit=10, min_backoff=100)
    assert (found["max_attempts"], found["timeout"]) == (6, "10ms")
    assert found["backoff"] == {"min": "200ms", "max": "9s", "factor": 2, "jitter": [0.5, 1]}
    assert options_of(actor(max_attempts=0))["max_attempts"] == 0


def test_priority_is_bounded():
    assert options_of(broker_priority=5)["priority"] == 5
    assert options_of(broker_priority=255)["priority"] == 100
    assert "priority" not in options_of(broker_priority=None)


def test_an_agent_gets_its_fields():
    agent = actor(kind="agent", task_type="agent_task")
    kwargs = {"task_id": "mine", "goal": "What is 6 * 7?", "input_data": {"x": 1, "goal": "?"}}
    task = submission(agent, actor_name=mapping.AGENT_ACTOR, kwargs=kwargs)
    assert task.task_type == "agent_task"
    assert task.input_data == {"x": 1, "goal": "What is 6 * 7?"}
    assert task.options["task_id"] == "mine"
    task = submission(agent, args=["mine", "a goal", [1], "more"], kwargs={"empty": None})
    assert task.input_data == {"input_data": [1], "goal": "a goal", "argument_4": "more"}
    assert task.options["task_id"] == "mine"


def test_what_strict_json_cannot_say():
    text = message().replace(b'"args": []', b'"args": [NaN, {"x": -Infinity}, "\\ud800", 10]')
    task = mapping.submission(text, actor())
    assert task.input_data["args"] == [None, {"x": None}, "\\ud800", 10]
    assert task.options["metadata"]["dramatiq_lossy"] == ["args[0]", "args[1].x"]
    many = message().replace(b"[]", b"[" + b"NaN," * 500 + b"1]")
    metadata = mapping.submission(many, actor()).options["metadata"]
    assert len(metadata["dramatiq_lossy"]) == mapping.LOSSY_PLACES_MAX
    assert metadata["dramatiq_lossy_total"] == 500


def test_other_encoders_than_json():
    with pytest.raises(errors.Invalid, match="JSONEncoder"):
        mapping.submission(b"\x80\x04K\x01.", actor())
