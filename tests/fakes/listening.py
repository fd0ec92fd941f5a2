"""A stand-in that listens on loopback for as long as a test needs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], released: threading.Event, **served: object) -> Iterator[str]:
    """Gives the address. `served` are attributes of the handler's class; `released` is set at the end, for requests that hang on purpose."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), served))
    listener.daemon_threads = True
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_port}"
    finally:
        released.set()
        listener.shutdown()
        listener.server_close()
        thread.join(10)
