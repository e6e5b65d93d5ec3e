"""What the application can run: its actors, each with how to call it."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Optional

from opscore._host.channel import encode
from opscore.actors import AFTER, BEFORE, DECLARED, STOPPED


class Hosted(NamedTuple):
    """An actor: its row of the catalogue, a function of a Context that runs a task, and what is
    raised in a thread that must stop, by why."""

    entry: dict[str, Any]
    invoke: Callable[[Any], Any]
    is_async: bool
    stops: Mapping[str, type[BaseException]] = STOPPED


ENDINGS: list[Callable[[], Any]] = []
"""What is to be called when this process has run its last task."""


def load(settings: dict[str, Any]) -> dict[str, Hosted]:
    """Imports the application's modules. What they raise passes."""
    if settings["dramatiq"]:
        from opscore.dramatiq import hosting

        actors = hosting.load(settings["modules"])
    else:
        for module in settings["modules"]:
            importlib.import_module(module)
        actors = declared()
    if not actors:
        kind = "dramatiq" if settings["dramatiq"] else "opscore"
        raise LookupError(
            f"there is no actor in {', '.join(settings['modules'])}: decorate functions with "
            f"@{kind}.actor, and name their modules"
        )
    return actors


def declared() -> dict[str, Hosted]:
    from opscore._host.signatures import invoker_of

    hosted = {}
    for name, actor in DECLARED.items():
        entry = {"type": name, "queue": actor.queue, **actor.options}
        if actor.input_schema is not None:
            entry["input_schema"] = encode(actor.input_schema)
        invoke = with_hooks(invoker_of(actor.function), actor.is_async)
        hosted[name] = Hosted(entry, invoke, actor.is_async)
    return hosted


def with_hooks(invoke: Callable[[Any], Any], is_async: bool) -> Callable[[Any], Any]:
    if not BEFORE and not AFTER:
        return invoke

    def before(task: Any) -> None:
        for hook in BEFORE:
            hook(task)

    def after(task: Any, error: Optional[BaseException]) -> None:
        for hook in AFTER:
            hook(task, error)

    def hooked(task: Any) -> Any:
        before(task)
        try:
            result = invoke(task)
        except BaseException as error:
            after(task, error)
            raise
        after(task, None)
        return result

    async def hooked_async(task: Any) -> Any:
        before(task)
        try:
            result = await invoke(task)
        except BaseException as error:
            after(task, error)
            raise
        after(task, None)
        return result

    return hooked_async if is_async else hooked


def hello(
    settings: dict[str, Any], actors: dict[str, Hosted], surroundings: dict[str, Any]
) -> str:
    return '["hello",%s]' % encode(
        {
            "version": settings["version"],
            "python": platform.python_version(),
            "own_package": settings["own_package"],
            "actors": [actor.entry for actor in actors.values()],
            "surroundings": surroundings,
        }
    )
