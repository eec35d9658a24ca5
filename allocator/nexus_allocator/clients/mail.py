"""Mail: a letter as a message of text and plain HTML, handed to one SMTP server."""

import smtplib
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Literal
from uuid import UUID

from nexus_allocator.domain.letters import Letter, Passage, one_line
from nexus_allocator.domain.outbox import DeliveryFailed

Security = Literal["starttls", "tls", "none"]
PERMANENT = 500


@dataclass(frozen=True)
class MailServer:
    """Where mail goes first, and how; ``security`` none is for a server on this machine."""

    host: str
    port: int
    security: Security = "starttls"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: float = 15.0


@dataclass(frozen=True)
class Site:
    """What every letter names: the sender, and the portal's address with a slash at its end."""

    sender: str
    portal_url: str

    @property
    def domain(self) -> str:
        return self.sender.rpartition("@")[2]


def message(letter: Letter, *, to: str, row_id: UUID, at: datetime, site: Site) -> EmailMessage:
    """Return the message; made again from the same row it is the same, Message-ID and date included.

    Raises DeliveryFailed, for good, for an address that no header can hold.
    """
    made = EmailMessage()
    try:
        made["From"] = Address(display_name="Roman Research Nexus", addr_spec=site.sender)
        made["To"] = Address(addr_spec=to)
        made["Subject"] = one_line(letter.subject)
    except (MessageError, ValueError, IndexError) as error:
        raise DeliveryFailed("The address can't be used.", is_final=True) from error
    made["Date"] = format_datetime(at)
    made["Message-ID"] = f"<{row_id}@{site.domain}>"
    # Keeps holiday answers from coming back.
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(as_text(letter, site))
    made.add_alternative(as_html(letter, site), subtype="html")
    return made


def as_text(letter: Letter, site: Site) -> str:
    parts = []
    for passage in letter.passages:
        if letter.is_digest:
            parts.append(f"{one_line(passage.heading)}\n{'-' * min(70, len(one_line(passage.heading)))}")
        parts += [*passage.sentences, f"{passage.page_label}: {site.portal_url}{passage.page}"]
    parts.append(f"-- \nRoman Research Nexus. Which mail you get, you choose at {site.portal_url}preferences")
    return "\n\n".join(parts) + "\n"


def as_html(letter: Letter, site: Site) -> str:
    body = "\n".join(_html_passage(passage, site, headed=letter.is_digest) for passage in letter.passages)
    choose = f'<a href="{escape(site.portal_url)}preferences">choose which mail you get</a>'
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(letter.subject)}</title></head><body>\n{body}\n"
        f"<hr><p><small>Roman Research Nexus. Here you {choose}.</small></p></body></html>\n"
    )


def _html_passage(passage: Passage, site: Site, *, headed: bool) -> str:
    heading = f"<h2>{escape(one_line(passage.heading))}</h2>\n" if headed else ""
    sentences = "\n".join(f"<p>{escape(said)}</p>" for said in passage.sentences)
    link = f'<a href="{escape(site.portal_url + passage.page)}">{escape(passage.page_label)}</a>'
    return f"{heading}{sentences}\n<p>{link}</p>"


class Post:
    """One SMTP server; the connection stays open until `close`. To be used from one thread."""

    def __init__(self, server: MailServer, *, context: ssl.SSLContext | None = None) -> None:
        self.server = server
        self._context = context or ssl.create_default_context()
        self._connection: smtplib.SMTP | None = None

    def send(self, made: EmailMessage) -> None:
        """Hand the message to the server. Raises DeliveryFailed; for good where the server says so."""
        try:
            if self._connection is None:
                self._connection = self._connected()
            self._connection.send_message(made)
        except smtplib.SMTPException as error:
            self.close()
            raise _failure(error) from error
        except (OSError, UnicodeError) as error:
            self.close()
            raise DeliveryFailed(f"The mail server can't be reached: {type(error).__name__}") from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.quit()
        except (smtplib.SMTPException, OSError):
            connection.close()

    def _connected(self) -> smtplib.SMTP:
        server = self.server
        if server.security == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=server.timeout_s, context=self._context
            )
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=server.timeout_s)
        try:
            if server.security == "starttls":
                connection.starttls(context=self._context)
            if server.user is not None:
                connection.login(server.user, server.password or "")
        except BaseException:
            connection.close()
            raise
        return connection


def _failure(error: smtplib.SMTPException) -> DeliveryFailed:
    """Return what went wrong; only what the server says of this message or its recipient is for good."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
        return DeliveryFailed(f"The recipient was refused: {code} {_plain(said)}", is_final=code >= PERMANENT)
    if isinstance(error, smtplib.SMTPDataError):
        problem = f"The message was refused: {error.smtp_code} {_plain(error.smtp_error)}"
        return DeliveryFailed(problem, is_final=error.smtp_code >= PERMANENT)
    if isinstance(error, smtplib.SMTPNotSupportedError) and "SMTPUTF8" in str(error):
        return DeliveryFailed("The mail server knows no such addresses.", is_final=True)
    return DeliveryFailed(f"The mail server did not take it: {type(error).__name__}")


def _plain(said: bytes | str) -> str:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return one_line(text)
