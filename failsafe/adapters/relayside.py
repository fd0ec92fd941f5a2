#!/usr/bin/env python3
"""failsafe's side on another machine to look from: one file, Python 3.5 or newer, standard library only.

It looks names up, connects, and carries bytes, from where it runs; what is said over a connection is the other side's matter. It knows no secret,
keeps nothing, and ends by itself. Frames both ways: one byte of kind, four bytes of length, payload. J is a request or its answer in JSON, D are bytes
of the open connection, E says that it has ended.

Requests: {"look_up": HOST, "port": N, "seconds": S}, {"connect": [FAMILY, IP, PORT], "seconds": S}, {"references": [[HOST, PORT], …], "seconds": S}.
"""

# mypy: ignore-errors
# Old Pythons run this file as it stands; tests run it, types are not checked.
import errno
import json
import os
import select
import socket
import struct
import sys
import threading
import time

VERSION = 1
CHUNK = 32768
LONGEST_FRAME = 1 << 16
LIFE = 300  # seconds; whatever the other side does, this ends


def receive_exactly(count):
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            os._exit(0)
        data += more
    return data


def receive():
    kind, length = struct.unpack(">cI", receive_exactly(5))
    if length > LONGEST_FRAME:
        os._exit(3)
    return kind, receive_exactly(length)


def send(kind, payload=b""):
    data = struct.pack(">cI", kind, len(payload)) + payload
    while data:
        data = data[os.write(1, data) :]


def say(value):
    send(b"J", json.dumps(value).encode("ascii"))


def in_time(work, seconds):
    """What `work` gives; None where it takes longer. Looking up a name knows no deadline of its own."""
    found = []
    worker = threading.Thread(target=lambda: found.append(work()))
    worker.daemon = True
    worker.start()
    worker.join(seconds)
    return found[0] if found else None


def look_up(host, port, seconds):
    def ask():
        try:
            rows = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            return {"error": str(getattr(error, "strerror", None) or error)}
        known = []
        for family, _, _, _, address in rows:
            row = ["6" if family == socket.AF_INET6 else "4", address[0]]
            if family in (socket.AF_INET, socket.AF_INET6) and row not in known:
                known.append(row)
        return {"addresses": known[:5]}

    return in_time(ask, seconds) or {"error": "the resolver did not answer in time"}


def connect(family, ip, port, seconds):
    """(answer, connection). The errno goes by its name: its number is another one on another system."""
    try:
        connection = socket.socket(socket.AF_INET6 if family == "6" else socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        return failure(error), None
    connection.settimeout(max(seconds, 0.001))
    try:
        connection.connect((ip, port))
    except OSError as error:
        connection.close()
        return failure(error), None
    return {"connected": True, "own_ip": connection.getsockname()[0]}, connection


def failure(error):
    if isinstance(error, socket.timeout):
        return {"errno": "ETIMEDOUT", "error": "timed out", "late": True}
    return {"errno": errno.errorcode.get(error.errno, ""), "error": error.strerror or str(error)}


def ask_references(places, seconds):
    """How many of them can be connected to, all asked at the same time."""
    ends, answered = time.time() + seconds, []

    def ask(host, port):
        for family, ip in look_up(host, port, ends - time.time()).get("addresses", []):
            connection = connect(family, ip, port, ends - time.time())[1]
            if connection is not None:
                connection.close()
                answered.append(host)
                return

    askers = [threading.Thread(target=ask, args=(str(host), int(port))) for host, port in places[:9]]
    for asker in askers:
        asker.daemon = True
        asker.start()
    for asker in askers:
        asker.join(max(0.0, ends - time.time()) + 0.2)
    return {"answered": len(answered), "asked": len(askers)}


def carry(connection):
    """Bytes both ways until the other side says E; where the connection ends first, E is said to it."""
    connection.settimeout(None)
    watched = [0, connection]
    while True:
        ready = select.select(watched, [], [])[0]
        if connection in ready:
            try:
                data = connection.recv(CHUNK)
            except OSError:
                data = b""
            if data:
                send(b"D", data)
            else:
                watched.remove(connection)
                send(b"E")
        if 0 in ready:
            kind, data = receive()
            if kind == b"E":
                break
            try:
                connection.settimeout(30)
                connection.sendall(data)
                connection.settimeout(None)
            except OSError:
                pass  # its end is told by recv
    connection.close()
    if connection in watched:
        send(b"E")


def serve():
    end = threading.Timer(LIFE, os._exit, [4])
    end.daemon = True
    end.start()
    say({"hello": "failsafe-relay", "version": VERSION, "python": sys.version.split()[0]})
    while True:
        kind, data = receive()
        if kind != b"J":
            continue
        asked = json.loads(data.decode("ascii"))
        seconds = min(60.0, float(asked.get("seconds", 10)))
        if "look_up" in asked:
            say(look_up(asked["look_up"], int(asked["port"]), seconds))
        elif "references" in asked:
            say(ask_references(asked["references"], seconds))
        elif "connect" in asked:
            family, ip, port = asked["connect"]
            answer, connection = connect(family, ip, int(port), seconds)
            say(answer)
            if connection is not None:
                carry(connection)
        else:
            say({"error": "no such request"})


if __name__ == "__main__":
    serve()
