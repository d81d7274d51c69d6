"""Messages between a fork server, its kernels and its clients: one JSON object a line."""

from __future__ import annotations

import json
import socket
from typing import Any

CHUNK = 65_536
SEND_SECONDS = 5.0


def send(channel: socket.socket, message: dict[str, Any]) -> None:
    """Write one message; a reader that takes nothing for five seconds is an ``OSError``."""
    before = channel.gettimeout()
    channel.settimeout(SEND_SECONDS)
    try:
        # ASCII escapes keep environment values that are no valid text.
        channel.sendall(json.dumps(message).encode("ascii") + b"\n")
    finally:
        channel.settimeout(before)


def send_socket(channel: socket.socket, message: dict[str, Any], given: socket.socket) -> None:
    """Write one short message, and hand over a socket with it."""
    socket.send_fds(channel, [json.dumps(message).encode("ascii")], [given.fileno()])


def receive_socket(channel: socket.socket) -> tuple[dict[str, Any], socket.socket] | None:
    """What :func:`send_socket` wrote; None at the end of the stream."""
    content, handed, _flags, _address = socket.recv_fds(channel, CHUNK, 1)
    return (json.loads(content), socket.socket(fileno=handed[0])) if content else None


class Reader:
    """Whole messages from one end of a stream socket."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.is_at_end = False
        self._held = b""

    def ready(self) -> list[dict[str, Any]]:
        """The messages that are there now, after one read; sets ``is_at_end`` when no more can come."""
        try:
            content = self.channel.recv(CHUNK)
        except (BlockingIOError, TimeoutError):
            return []
        except OSError:
            content = b""
        self.is_at_end = not content
        *lines, self._held = (self._held + content).split(b"\n")
        return [json.loads(line) for line in lines]

    def next(self, seconds: float | None) -> dict[str, Any] | None:
        """The next message; None at the end of the stream.

        Raises ``TimeoutError`` when nothing comes within ``seconds``.
        """
        self.channel.settimeout(seconds)
        while b"\n" not in self._held:
            content = self.channel.recv(CHUNK)
            if not content:
                self.is_at_end = True
                return None
            self._held += content
        line, _, self._held = self._held.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message
