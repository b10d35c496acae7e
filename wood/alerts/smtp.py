"""Alerts by e-mail: one message for all that is to be told, over SMTP, STARTTLS or SMTPS."""

import smtplib
import ssl
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from wood.alerts.limits import LONGEST, PATIENCE, within
from wood.alerts.notices import Notice, moment, title
from wood.alerts.outbox import Letter
from wood.alerts.sender import Sink, Undelivered
from wood.model.errors import ConfigError
from wood.model.text import printable

PORTS = {"smtp": 25, "smtps": 465}

_HELP = (
    "such as smtp://user:password@mail.example:587?starttls or smtps://mail.example (in a "
    "password, write / as %2F, @ as %40, # as %23, ? as %3F); ?ca=FILE names who vouches for it"
)


@dataclass(frozen=True, repr=False)  # it has a password
class MailServer:
    """Where mail is handed in, and how."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    tls: bool = False
    starttls: bool = False
    ca: Path | None = None

    @classmethod
    def parse(cls, url: str) -> "MailServer":
        """Read a URL. Raises `ConfigError`, whose text has no part of the password."""
        try:
            parts = urlsplit(url)
            options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=False)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ConfigError(f"--smtp: this is no URL of a mail server, {_HELP}") from None
        wrong = parts.scheme not in PORTS or not host or parts.path not in ("", "/")
        if wrong or parts.fragment or options.keys() - {"starttls", "ca"}:
            raise ConfigError(f"--smtp: this is no URL of a mail server, {_HELP}")
        tls, starttls = parts.scheme == "smtps", "starttls" in options
        if tls and starttls:
            raise ConfigError("--smtp: smtps:// is TLS from the first byte: leave ?starttls out")
        ca = Path(options["ca"][0]) if "ca" in options else None
        if ca is not None and not ca.is_file():
            raise ConfigError(f"--smtp: there is no file {ca}, which ?ca= names")
        if ca is not None and not (tls or starttls):
            raise ConfigError("--smtp: ?ca= is for smtps:// and ?starttls")
        user = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        if (user is None) != (password is None):
            raise ConfigError("--smtp: give both a user and a password, or neither")
        return cls(str(host), port or PORTS[parts.scheme], user, password, tls, starttls, ca)

    @property
    def readable(self) -> bool:
        """Whether a password is sent so that whoever is on the way can read it."""
        return self.password is not None and not (self.tls or self.starttls)

    def context(self) -> ssl.SSLContext:
        """Whom to trust. Raises `ConfigError`."""
        try:
            return ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError:
            raise ConfigError(f"--smtp: {self.ca} has no certificates (PEM)") from None


class MailSink(Sink):
    """One recipient. Each has its own, so that one who is refused keeps nobody from being told."""

    def __init__(self, server: MailServer, sender: str, recipient: str) -> None:
        self.name = f"mail to {recipient} by {server.host}:{server.port}"
        self._server = server
        self._sender = sender
        self._recipient = recipient
        self._context = server.context() if server.tls or server.starttls else None

    def deliver(self, letter: Letter) -> None:
        """Hand one message in. Raises `Undelivered`."""
        mail = message(letter, self._sender, self._recipient)
        server = self._server
        try:
            smtp = self._unconnected()
            with within(LONGEST, lambda: smtp.sock), closing(smtp):
                smtp.connect(server.host, server.port)
                if server.starttls:
                    smtp.starttls(context=self._context)
                if server.user is not None and server.password is not None:
                    smtp.login(server.user, server.password)
                smtp.send_message(mail, self._sender, [self._recipient])
                # It has been taken: whatever comes now, it must not be sent again.
                with suppress(smtplib.SMTPException, OSError):
                    smtp.quit()
        except smtplib.SMTPException as error:
            raise Undelivered(_reason(error)) from None
        except OSError as error:
            raise Undelivered(str(error) or type(error).__name__) from None

    def _unconnected(self) -> smtplib.SMTP:
        if self._server.tls:
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(timeout=PATIENCE, context=self._context)
        else:
            smtp = smtplib.SMTP(timeout=PATIENCE)
        # Who is only connected to later is not told the name that certificates are compared with.
        smtp._host = self._server.host  # type: ignore[attr-defined]
        return smtp


def _reason(error: smtplib.SMTPException) -> str:
    """What the server says, without what it was told."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"it refuses the user or the password ({error.smtp_code})"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
        return f"it refuses the recipient: {code} {_text(text)}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"it answers {error.smtp_code} {_text(error.smtp_error)}"
    return printable(str(error)) or type(error).__name__


def _text(said: bytes | str) -> str:
    return printable(said.decode("utf-8", "replace") if isinstance(said, bytes) else said)


def message(letter: Letter, sender: str, recipient: str) -> EmailMessage:
    """The mail that says all of it."""
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = recipient
    mail["Subject"] = _subject(letter)
    mail["Date"] = formatdate(localtime=False)
    mail["Message-ID"] = make_msgid("wood", sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # no answers from those who are on holiday
    parts = [_paragraph(notice) for notice in letter.notices]
    parts += [
        f"And {count} more notices of {name}, for which there was no room."
        for name, count in letter.left_out.items()
    ]
    # Lines of any length, with any letters, through servers of any age.
    mail.set_content("\n\n".join(parts) + "\n", cte="quoted-printable")
    return mail


def _subject(letter: Letter) -> str:
    if len(letter.notices) == 1 and not letter.left_out:
        return f"[wood] {title(letter.notices[0])}"[:200]
    ended = sum(notice.ended for notice in letter.notices)
    return f"[wood] {len(letter.notices) - ended} alerts, {ended} ended"


def _paragraph(notice: Notice) -> str:
    times = "once" if notice.times == 1 else f"{notice.times} times"
    lines = [
        title(notice),
        f"  {printable(notice.text)}",
        f"  since: {moment(notice.since)}",
        *([f"  ended: {moment(notice.last)}"] if notice.ended else []),
        f"  happened: {times}",
        *([f"  notices in this one: {notice.stands_for}"] if notice.stands_for > 1 else []),
        f"  what to do: {notice.runbook}",
    ]
    return "\n".join(lines)
