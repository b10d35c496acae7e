"""TLS as a client speaks it: the server proves its name, the client its own, if it can."""

import ssl
from pathlib import Path

from wood.model.errors import ConfigError


def client_tls(
    ca: Path | str | None = None, cert: Path | str | None = None, key: Path | str | None = None
) -> ssl.SSLContext:
    """The settings of a client that trusts the issuers in `ca`, or else those that the system does.

    `cert` with `key`, which may be in the same file, is the client's own certificate. All are PEM
    files. A server is connected to only if its certificate is for the host that was asked for.
    Raises `ConfigError`.
    """
    if key is not None and cert is None:
        raise ConfigError("a private key is of no use without its certificate")
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ConfigError(f"cannot use {ca} for --tls-ca: {_reason(error)}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert is not None:
        try:
            context.load_cert_chain(cert, key)
        except OSError as error:
            text = f"cannot use {cert} for --tls-client-cert: {_reason(error)}"
            raise ConfigError(text) from None
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "it is no such file in PEM").replace("_", " ").lower()
    return error.strerror or str(error)


def why(error: OSError) -> str | None:
    """What is wrong with the server's TLS, None if that is not what failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or 'unknown error').replace('_', ' ').lower()}"
    return None
