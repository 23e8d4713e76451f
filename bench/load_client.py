"""A client that pipelines, keeps connections, checks every answer, and now and then dies."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
from load_requests import Answer, Request, Requests

CONNECTIONS = 4
DEPTH = 8
"""Requests that are sent at once over each connection, at most."""
DEATHS = 0.01
"""How often a connection dies in the middle of a request."""
_PATIENCE = 120
_BLOCK = 1 << 18


class Connection:
    """A connection to the server, and what was read from it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = bytearray()

    def send(self, content: bytes) -> None:
        """Send requests."""
        self._socket.sendall(content)

    def answer(self) -> Answer:
        """The next answer."""
        while (end := self._read.find(b"\r\n\r\n")) < 0:
            self._more()
        lines = bytes(self._read[:end]).decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        size = end + 4 + int(headers.get("content-length", 0))
        while len(self._read) < size:
            self._more()
        body = bytes(self._read[end + 4 : size])
        del self._read[:size]
        return Answer(int(lines[0].split()[1]), headers, body)

    def check_end(self) -> str:
        """What is wrong where the server should have closed it, without anything more."""
        if self._read or self._socket.recv(1):
            return "more than was asked for"
        return ""

    def close(self) -> None:
        """Close it as clients do."""
        self._socket.close()

    def die(self) -> None:
        """Reset it, as the system does for a process that dies with data unread."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _more(self) -> None:
        block = self._socket.recv(_BLOCK)
        if not block:
            raise ConnectionError("the server closed the connection before its answer")
        self._read += block


def run_client(
    port: int, folder: Path, seed: int, counts: Any, is_over: Event, problems: Any
) -> None:
    """Send requests until it is over.

    Args:
        port: the server's.
        folder: of its models.
        seed: of what is drawn.
        counts: takes, now and then, how many answers were right since the last time, by kind.
        is_over: set to end.
        problems: takes a text for each wrong answer.
    """
    rng = np.random.default_rng(seed)
    requests = Requests(folder, seed)
    connections = [Connection(port) for _ in range(CONNECTIONS)]
    tally: Counter[str] = Counter()
    try:
        while not is_over.is_set():
            if rng.random() < DEATHS * CONNECTIONS:
                _die(port, rng, requests)
                tally["died"] += 1
            sent = [requests.some(int(rng.integers(1, DEPTH + 1))) for _ in connections]
            for connection, batch in zip(connections, sent, strict=True):
                connection.send(b"".join(request.content for request in batch))
            for i, batch in enumerate(sent):
                for request in batch:
                    _check(connections[i].answer(), request, tally, problems)
                if batch[-1].closes:
                    if problem := connections[i].check_end():
                        problems.put(f"{batch[-1].kind}: {problem}")
                    connections[i].close()
                    connections[i] = Connection(port)
            if tally.total() > 500:
                counts.put(dict(tally))
                tally.clear()
    except Exception as error:
        problems.put(f"a client ended: {error!r}")
        is_over.set()
    finally:
        counts.put(dict(tally))
        for connection in connections:
            connection.close()


def _check(answer: Answer, request: Request, tally: Counter[str], problems: Any) -> None:
    try:
        problem = request.problem(answer)
    except Exception as error:
        problem = f"{error!r}: {answer}"
    if problem:
        problems.put(f"{request.kind}: {problem}")
    else:
        tally[request.kind] += 1


def _die(port: int, rng: np.random.Generator, requests: Requests) -> None:
    """Die after a part of a request, or before the answer is read."""
    content = b"".join(request.content for request in requests.some(3))
    connection = Connection(port)
    connection.send(content[: int(rng.integers(1, len(content) + 1))])
    if rng.random() < 0.5:
        connection.die()
    else:
        connection.close()
