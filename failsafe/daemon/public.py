"""After a flip: what a few public resolvers give, told for information. Nothing waits for it, and nothing follows from it."""

from __future__ import annotations

from failsafe.app import App
from failsafe.errors import FailsafeError
from failsafe.events import Event
from failsafe.failover.runner import Ending
from failsafe.failover.verify import describe_public
from failsafe.logs import get_log


def tell_public(app: App, ending: Ending) -> None:
    """One event, where any of them answered. Never raises what is outside: this is only information."""
    from failsafe.adapters.public_resolvers import ask_public

    assert ending.intent is not None
    domain, desired = ending.intent.domain, ending.intent.desired
    try:
        answers = ask_public([str(address) for address in app.config.controller.public_resolvers], domain)
        text = describe_public(desired, answers)
        if text:
            app.record(Event("resolvers.seen", domain, text, app.clock.now(), {"intent": ending.intent.id}))
    except FailsafeError as error:
        get_log().warning("public", domain=domain, error=str(error))
