"""A real mail server (aiosmtpd) that keeps what it is sent."""

import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from tests.support import free_port

HOST = "127.0.0.1"
USER, PASSWORD = "wood", "p@ss/word#1?"


class MailServer:
    """Takes mail for everybody but `refused`; `login` demands that of `USER`."""

    def __init__(
        self,
        *,
        cert: Path | None = None,
        smtps: bool = False,
        login: bool = False,
        refused: tuple[str, ...] = (),
    ) -> None:
        self.port = free_port()
        self.mails: list[EmailMessage] = []
        self.logins: list[str] = []
        self.encrypted: list[bool] = []
        self.refused = refused
        context = None
        if cert is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(cert)
        self._settings: dict[str, Any] = {"hostname": HOST, "port": self.port}
        if smtps:
            self._settings["ssl_context"] = context
        elif context is not None:
            self._settings |= {"tls_context": context, "require_starttls": True}
        if login:
            self._settings |= {
                "authenticator": self._authenticate,
                "auth_required": True,
                "auth_require_tls": cert is not None and not smtps,
            }
        self.start()

    def start(self) -> None:
        """Listen, on the same port each time."""
        self._controller = Controller(self, **self._settings)
        self._controller.start()

    def stop(self) -> None:
        """Listen no more."""
        self._controller.stop()

    def _authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)

    async def handle_RCPT(  # noqa: N802 (the library's own)
        self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Whether one may be written to."""
        if address in self.refused:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 (the library's own)
        self, server: Any, session: Any, envelope: Envelope
    ) -> str:
        """Keep a mail."""
        content = envelope.original_content
        assert content is not None
        mail = message_from_bytes(content, policy=policy.default)
        mail["X-Rcpt"] = ", ".join(envelope.rcpt_tos)
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        self.mails.append(mail)
        return "250 taken"
