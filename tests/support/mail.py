"""A real SMTP server on this machine, and a deliverer that writes to it."""

import random
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.allocator import World, service_environment
from tests.support.postgres import free_port

from nexus_allocator.clients.mail import MailServer, Post, Site
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.services import digests
from nexus_allocator.services.delivery import Delivered, deliver
from nexus_allocator.services.letters import MailCarrier

SENDER = "nexus@roman.example"
RNG = random.Random(7)  # noqa: S311 - the same pauses each time
PORTAL = "https://nexus.example/services/nexus/"
USER, PASSWORD = "nexus", "a password for tests"


def nothing() -> None:
    """What happens at a moment unless a test says otherwise."""


@dataclass
class PostOffice:
    """What the server took, what it answers, and what a test does at a moment of the conversation."""

    messages: list[EmailMessage] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    at_hello: Callable[[], None] = nothing
    at_data: Callable[[], None] = nothing
    logins: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def subjects(self) -> list[str]:
        return [str(message["Subject"]) for message in self.messages]

    def to(self, address: str) -> list[EmailMessage]:
        return [message for message in self.messages if message["To"] == address]

    def server(self) -> MailServer:
        return MailServer("127.0.0.1", self.port, "none", timeout_s=5)

    async def handle_EHLO(  # noqa: N802 - the library's own name
        self, _server: Any, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.at_hello()
        session.host_name = hostname
        return responses

    async def handle_RCPT(  # noqa: N802 - the library's own name
        self, _server: Any, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the library's own name
        self, _server: Any, _session: Session, envelope: Envelope
    ) -> str:
        if "DATA" in self.answers:
            return self.answers["DATA"]
        assert isinstance(envelope.content, bytes)
        self.messages.append(message_from_bytes(envelope.content, policy=policy.default))
        self.at_data()
        return "250 OK"

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _way: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.logins.append(given.login.decode())
        # Not handled: the server itself tells a wrong one.
        is_right = (given.login, given.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=is_right, handled=False)


@contextmanager
def post_office(*, tls: ssl.SSLContext | None = None) -> Iterator[PostOffice]:
    """Run an SMTP server on a free loopback port; with ``tls`` it wants STARTTLS and a login."""
    office = PostOffice()
    strict = {"authenticator": office.authenticate, "auth_required": True, "require_starttls": True}
    office.port = free_port()
    controller = Controller(
        office, hostname="127.0.0.1", port=office.port, tls_context=tls, **(strict if tls else {})
    )
    controller.start()
    try:
        yield office
    finally:
        controller.stop()


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the context of a server with a certificate of its own, and that of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail for tests")])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(form, *plain))
    (folder / "certificate.pem").write_bytes(made.public_bytes(form))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return server, ssl.create_default_context(cafile=str(folder / "certificate.pem"))


def carrier(office: PostOffice) -> MailCarrier:
    return MailCarrier(Post(office.server()), Site(SENDER, PORTAL))


def delivered(world: World, office: PostOffice | None) -> Delivered:
    """Write the digests that are due and send what is due, as the deliverer does."""
    post = MailCarrier(None, None) if office is None else carrier(office)
    digests.gather_all(world.database, now=world.clock())
    return deliver(world.database, {Channel.MAIL: post}, clock=world.clock, rng=RNG)


def start_deliverer(world: World, office: PostOffice, *, lease_s: float) -> subprocess.Popen[str]:
    """Start `nexus-allocator deliver` in a process of its own."""
    environment = service_environment(
        world.database.url.render_as_string(hide_password=False), "http://127.0.0.1:1/hub/api",
        NEXUS_MAIL_HOST="127.0.0.1", NEXUS_MAIL_PORT=str(office.port), NEXUS_MAIL_SECURITY="none",
        NEXUS_MAIL_FROM=SENDER, NEXUS_DELIVERY_LEASE_S=str(lease_s),
    )  # fmt: skip
    return deliver_command(environment)


def deliver_command(environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from nexus_allocator.cli import main; main()", "deliver"]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def text_part(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def html_part(message: EmailMessage) -> str:
    part = message.get_body(("html",))
    assert part is not None
    return str(part.get_content())
