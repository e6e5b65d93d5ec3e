"""What runs inside the interpreters that opscore starts. Not for applications.

importing   imports the application, and says what takes so long
channel     frames to and from the parent (the grammar: src/opscore/actor/python/frames.h)
slots       the memory that tells the parent what runs
capture     what a task prints and logs
outcomes    what a call came to, as the parent is told it
crew        threads and event loop that run tasks
catalogue   what the application can run
surroundings  what this interpreter is
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from typing import Any


def main(settings: dict[str, Any]) -> None:
    """The life of one interpreter: import, announce, run until the parent has no more tasks."""
    from opscore._host import capture, catalogue, crew, importing, surroundings
    from opscore._host.channel import Channel
    from opscore._host.slots import Slots

    for name in ("socket", "cells", "crash"):  # programs that actors start have no business there
        os.set_inheritable(settings[name], False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    faulthandler.enable(settings["crash"])
    channel = Channel(settings["socket"])
    slots = Slots(settings["cells"], settings["threads"])
    capture.install(channel, settings["log_level"], settings["takes_logging"])
    try:
        with importing.watched(channel, settings["report_imports_ms"] / 1000):
            with surroundings.import_times() as times:
                actors = catalogue.load(settings)
    except BaseException as error:  # SystemExit, too: whatever it is, nothing can be run
        channel.tell(importing.refusal(error))
        channel.flush()
        sys.exit(2)
    workers = crew.Crew(channel, slots, actors)
    channel.tell(catalogue.hello(settings, actors, surroundings.facts(times)))
    channel.flush()
    workers.serve()
    for ending in catalogue.ENDINGS:
        ending()
    sys.stdout.flush()
    sys.stderr.flush()
