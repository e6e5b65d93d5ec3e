"""From a function's parameters: the schema of its input, and how an input becomes arguments."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any, Callable, Optional, Union

_WHOLE = "input"
_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # names that only a type checker can see
        return getattr(function, "__annotations__", {})


def _is_context(hint: Any) -> bool:
    return getattr(hint, "__qualname__", hint) in ("Context", "opscore.Context") and (
        isinstance(hint, str) or hint.__module__ == "opscore.context"
    )


class Signature:
    """Which parameter is which."""

    def __init__(self, function: Callable[..., Any]) -> None:
        hints = _hints(function)
        self.context: Optional[str] = None
        self.parameters: list[inspect.Parameter] = []
        self.hints = hints
        for parameter in inspect.signature(function).parameters.values():
            if _is_context(hints.get(parameter.name)):
                self.context = parameter.name
            else:
                self.parameters.append(parameter)

    def takes_whole_input(self) -> bool:
        return len(self.parameters) == 1 and self.parameters[0].name == _WHOLE


def _schema_of_hint(hint: Any) -> dict[str, Any]:
    """Of what is simple; anything goes for the rest."""
    if hint in _SCALARS:
        return dict(_SCALARS[hint])
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Union:
        choices = [_schema_of_hint(each) for each in arguments]
        return {"anyOf": choices} if all(choices) else {}
    if hint is list or origin is list:
        items = _schema_of_hint(arguments[0]) if arguments else {}
        return {"type": "array", "items": items} if items else {"type": "array"}
    if hint is dict or origin is dict:
        return {"type": "object"}
    return {}


def schema_of(function: Callable[..., Any]) -> Optional[dict[str, Any]]:
    """JSON Schema (draft 7) of the input; None when anything may be submitted."""
    signature = Signature(function)
    if signature.takes_whole_input():
        return _schema_of_hint(signature.hints.get(_WHOLE, Any)) or None
    properties: dict[str, Any] = {}
    required: list[str] = []
    has_more = False
    for parameter in signature.parameters:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            has_more = True
        if parameter.kind not in _NAMED:
            continue
        properties[parameter.name] = _schema_of_hint(signature.hints.get(parameter.name, Any))
        if parameter.default is inspect.Parameter.empty:
            required.append(parameter.name)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": has_more,
    }
    if required:
        schema["required"] = required
    else:  # null is no arguments
        schema["type"] = ["object", "null"]
    if len(properties) == 1 and not has_more:  # may also be submitted bare
        return {"anyOf": [schema, {"not": {"type": "object"}}]}
    return schema if properties or not has_more else None


def invoker_of(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """A function of the Context that calls `function` with the task's input."""
    signature = Signature(function)
    context = signature.context
    if signature.takes_whole_input():
        if context is None:
            return lambda task: function(task.input)
        name = context
        return lambda task: function(task.input, **{name: task})

    def invoke(task: Any) -> Any:
        given = task.input
        if type(given) is dict:
            return function(**given) if context is None else function(**given, **{context: task})
        more = {} if context is None else {context: task}
        return function(**more) if given is None else function(given, **more)

    return invoke
