"""The server's certificate, and the participants that clients' certificates name."""

import logging
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wood.model.errors import ConfigError
from wood.model.log_events import LogEvent, told
from wood.model.participants import is_name

log = logging.getLogger("wood.node")

NOBODY = ""
"""What a certificate names that names no possible participant."""


class Certificates:
    """The TLS settings of new connections, read from files. Raises `ConfigError`."""

    def __init__(self, cert: Path, key: Path | None = None, client_ca: Path | None = None) -> None:
        self._files = cert, key, client_ca
        self.context = _load(*self._files)

    def reload(self) -> None:
        """Read the files again, for connections from now on. What is wrong with them is logged,
        and changes nothing.
        """
        try:
            self.context = _load(*self._files)
        except ConfigError as error:
            refused = told(LogEvent.CERTIFICATES_REFUSED, reason=str(error))
            log.error("the certificates are those of before: %s", error, extra=refused)
        else:
            log.info("the certificates were read again", extra=told(LogEvent.CERTIFICATES_READ))


def _load(cert: Path, key: Path | None, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A session that is taken up again would bring its client's certificate along unverified.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    try:
        context.load_cert_chain(cert, key, _no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is one of the former
        which = cert if key is None else f"{cert} with the key in {key}"
        raise ConfigError(f"cannot use {which} for --tls-cert: {_reason(error)}") from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ValueError) as error:
            text = f"cannot use {client_ca} for --tls-client-ca: {_reason(error)}"
            raise ConfigError(text) from None
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _no_password() -> str:
    """Nobody is there to be asked."""
    raise ValueError("the key has a password: give one without, in a file that only wood can read")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key is not that of the certificate"
        return "it is no such file in PEM" if error.reason is None else said(error)
    return getattr(error, "strerror", None) or str(error)


def said(error: ssl.SSLError) -> str:
    """What OpenSSL says is wrong, without where in its source it says so."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or "unknown error").replace("_", " ").lower()


def named(certificate: Mapping[str, Any] | None, now: float | None = None) -> str | None:
    """The participant that a client's verified certificate names, by its common name or else its
    first DNS name; `NOBODY` if that can be no participant's. None if there is no certificate.

    One that has expired since it was verified names nobody.
    """
    if not certificate:
        return None
    if ssl.cert_time_to_seconds(certificate["notAfter"]) < (time.time() if now is None else now):
        return NOBODY
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    names = [value for kind, value in subject if kind == "commonName"]
    if not names:
        others = certificate.get("subjectAltName", ())
        names = [value for kind, value in others if kind == "DNS"][:1]
    # Of several common names none is the one.
    return names[0] if len(names) == 1 and is_name(names[0]) else NOBODY
