"""What the interpreters make of functions, inputs and results; without a server."""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any, Optional

import pytest

import opscore
from opscore import actors
from opscore._host import outcomes
from opscore._host.channel import Channel, text
from opscore._host.signatures import invoker_of, schema_of


def task(given: Any) -> opscore.Context:
    return opscore.Context("task_1", "t", 1, 0, 5, 60_000, given, None, 1, None)


def scalars(a: int, b: str = "", *, c: Optional[float] = None, d: bool = True) -> Any:
    return [a, b, c, d]


def test_annotations_become_a_schema():
    assert schema_of(scalars) == {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "string"},
            "c": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "d": {"type": "boolean"},
        },
        "additionalProperties": False,
        "required": ["a"],
    }


def test_what_is_not_simple_is_not_checked():
    def some(a: dict[str, int], b: list[int], c: os.PathLike[str], d, **more): ...

    schema = schema_of(some)
    assert schema["properties"] == {
        "a": {"type": "object"},
        "b": {"type": "array", "items": {"type": "integer"}},
        "c": {},
        "d": {},
    }
    assert schema["additionalProperties"] is True
    assert schema_of(lambda input: 0) is None
    assert schema_of(lambda **more: 0) is None


def test_without_required_parameters_null_is_an_input():
    schema = schema_of(lambda: 0)
    assert schema == {"type": ["object", "null"], "properties": {}, "additionalProperties": False}


@pytest.mark.parametrize(
    "function, given, answer",
    [
        (scalars, {"a": 1, "c": 2.5}, [1, "", 2.5, True]),
        (lambda a: a, [1, 2], [1, 2]),
        (lambda a=7: a, None, 7),
        (lambda input: input, {"a": 1}, {"a": 1}),
        (lambda input: input, None, None),
    ],
)
def test_inputs_become_arguments(function, given, answer):
    assert invoker_of(function)(task(given)) == answer


def test_a_context_goes_where_it_is_annotated():
    def first(it: opscore.Context, a: int, b: int = 4):
        return it.id, a, b

    def whole(input, it: opscore.Context):
        return input, it.type

    assert invoker_of(first)(task({"a": 3})) == ("task_1", 3, 4)
    assert invoker_of(whole)(task([1])) == ([1], "t")
    assert set(schema_of(first)["properties"]) == {"a", "b"}


def test_two_actors_of_one_name_are_a_mistake():
    def one(): ...

    def two(): ...

    opscore.actor(name="tests.same")(one)
    with pytest.raises(ValueError, match="two actors named 'tests.same'"):
        opscore.actor(name="tests.same")(two)
    del actors.DECLARED["tests.same"]


@pytest.mark.parametrize("result", [float("nan"), object(), "\ud800", {"a": {1, 2}}])
def test_results_that_json_cannot_say_are_bad(result):
    with pytest.raises(outcomes.BadResult):
        outcomes.encoded(result)


def test_depth_of_results():
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    assert json.loads(outcomes.encoded(deep)) == deep
    with pytest.raises(outcomes.BadResult, match="100 levels"):
        outcomes.encoded([deep])
    assert outcomes.encoded([[]] * 500)


def failed(error: BaseException) -> list[Any]:
    try:
        raise error
    except BaseException as raised:
        return json.loads(outcomes.failure(7, 1, 2, raised))


def test_failures_as_the_parent_is_told_them():
    word, number, _, _, kind, message, trace, retryable, delay = failed(ValueError("no\ud800"))
    assert (word, number, kind, message) == ("fail", 7, "actor_error", "ValueError: no\\ud800")
    assert "in failed" in trace and retryable and delay is None
    assert failed(opscore.Retry("later", delay=1.5))[7:] == [True, 1500]
    assert failed(opscore.Fail("never", kind="no_paper"))[4:8:3] == ["no_paper", False]
    assert failed(opscore.Snooze(2, "busy"))[4:] == [2000, "busy"]
    assert failed(actors.JournalMismatch("step 1"))[4] == "journal_mismatch"


def test_a_call_that_does_not_fit_is_the_inputs_fault():
    try:
        invoker_of(scalars)(task({"b": "x"}))
    except TypeError as error:
        error.__traceback__ = None
        assert json.loads(outcomes.failure(1, 1, 2, error))[4] == "invalid_input"


def test_any_text_can_be_said():
    for each in ("plain", 'quo"te\n', "\x00", "é", "\ud800 alone"):
        json.loads(text(each)).encode()


def frame(items: Any) -> bytes:
    payload = json.dumps(items).encode()
    return struct.pack("<I", len(payload)) + payload


def test_frames_may_be_cut_anywhere():
    ours, theirs = socket.socketpair()
    channel = Channel(theirs.detach())
    stream = frame([["a", 1]]) + frame([]) + frame([["b", "x" * 300], ["c"]])
    heard: list[Any] = []
    for at in range(0, len(stream), 7):
        ours.sendall(stream[at : at + 7])
        heard += channel.listen(5)
    assert heard == [["a", 1], ["b", "x" * 300], ["c"]]
    assert channel.listen(0) == []
    ours.close()
    assert channel.listen(5) is None


def test_what_is_told_is_sent_in_one_frame():
    ours, theirs = socket.socketpair()
    channel = Channel(theirs.detach())
    channel.tell('["x",1]')
    channel.tell('["y"]')
    assert channel.has_waiting() == 2
    channel.flush()
    channel.flush()
    sent = ours.recv(100)
    assert struct.unpack_from("<I", sent) == (len(sent) - 4,)
    assert json.loads(sent[4:]) == [["x", 1], ["y"]]


def test_no_task_runs_outside_of_actors():
    with pytest.raises(LookupError, match="call this from an actor"):
        opscore.current_task()
