"""A small real SMTP server: greets, encrypts, authenticates, refuses whom it is told to, keeps mail."""

from __future__ import annotations

import base64
import email
import email.policy
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, cast


@dataclass
class Post:
    """A running server's address and everything that it was handed."""

    host: str = "127.0.0.1"
    port: int = 0
    users: dict[str, str] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    certificate: ssl.SSLContext | None = None
    drip_seconds: float = 0.0
    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    was_encrypted: list[bool] = field(default_factory=list)


class _Session(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        post = cast("Any", self.server).post
        self.is_encrypted, self.is_known, recipients = False, not post.users, list[str]()
        self.say("220 tests")
        while line := self.rfile.readline():
            words = line.decode("utf-8").strip().split()
            verb = words[0].upper() if words else ""
            if verb == "EHLO":
                offers = ["STARTTLS"] if post.certificate and not self.is_encrypted else []
                offers += ["AUTH PLAIN"] if post.users else []
                for offer in ["tests", *offers]:
                    self.say(f"250-{offer}")
                self.say("250 8BITMIME")
            elif verb == "STARTTLS" and post.certificate:
                self.say("220 go ahead")
                secure = post.certificate.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = secure.makefile("rb"), secure.makefile("wb", buffering=0)
                self.request = self.connection = secure
                self.is_encrypted = True
            elif verb == "AUTH":
                _, user, password = base64.b64decode(words[2]).decode().split("\0")
                self.is_known = post.users.get(user) == password
                self.say("235 welcome" if self.is_known else "535 who are you")
            elif verb == "RCPT":
                address = line.decode().partition("<")[2].partition(">")[0]
                if not self.is_known or address in post.refused:
                    self.say("550 not for us")
                else:
                    recipients.append(address)
                    self.say("250 ok")
            elif verb == "DATA":
                self.say("354 go on")
                content = b"".join(iter(self.rfile.readline, b".\r\n"))
                mail = email.message_from_bytes(content, policy=email.policy.default)
                post.mails.append((list(recipients), cast("EmailMessage", mail)))
                post.was_encrypted.append(self.is_encrypted)
                self.say("250 taken")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok" if verb in ("MAIL", "RSET", "NOOP") else "502 no")

    def finish(self) -> None:
        super().finish()
        # The server closes the socket that it accepted, from which the encrypted one was made.
        self.connection.close()

    def say(self, text: str) -> None:
        for byte in f"{text}\r\n".encode():
            self.wfile.write(bytes([byte]))
            time.sleep(cast("Any", self.server).post.drip_seconds)


@contextmanager
def mail_server(**settings: Any) -> Iterator[Post]:
    """A server that runs as long as the block does; a client that leaves early is no error."""
    post = Post(**settings)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Whatever a client breaks is its own loss."""

    with Server((post.host, 0), _Session) as server:
        server.post = post  # type: ignore[attr-defined]
        post.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield post
        finally:
            server.shutdown()
            thread.join()
