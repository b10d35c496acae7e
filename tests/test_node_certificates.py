import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.tls import Office
from wood.model.errors import ConfigError
from wood.node.certificates import NOBODY, Certificates, named

END = "Jan  1 00:00:00 2030 GMT"
THEN = ssl.cert_time_to_seconds(END)


def certificate(*names: str, dns: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "subject": ((("organizationName", "x"),), *[(("commonName", name),) for name in names]),
        "subjectAltName": (("IP Address", "127.0.0.1"), *[("DNS", name) for name in dns]),
        "notAfter": END,
    }


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, None),
        ({}, None),
        (certificate("alice"), "alice"),
        (certificate("alice", dns=("bob",)), "alice"),
        (certificate(dns=("bob", "carol")), "bob"),
        (certificate(), NOBODY),
        (certificate("alice", "bob"), NOBODY),
        (certificate("a b", dns=("bob",)), NOBODY),
        (certificate("~0123456789"), NOBODY),
        (certificate(""), NOBODY),
        (certificate("a\0b"), NOBODY),
        (certificate(dns=("*.example",)), NOBODY),
    ],
)
def test_whom_it_names(given: dict[str, Any] | None, name: str | None) -> None:
    assert named(given, THEN - 1) == name


def test_one_that_expired_since_names_nobody() -> None:
    assert named(certificate("alice"), THEN) == "alice"
    assert named(certificate("alice"), THEN + 1) == NOBODY


def test_sessions_are_not_taken_up_again_and_old_versions_not_spoken(tmp_path: Path) -> None:
    context = Certificates(Office(tmp_path).cert).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.num_tickets == 0
    assert context.options & ssl.OP_NO_TICKET
    assert context.verify_mode is ssl.CERT_NONE, "nobody is asked for what nobody can check"


def test_a_key_with_a_password_asks_nobody(tmp_path: Path) -> None:
    office = Office(tmp_path)
    key = load_pem_private_key(office.cert.read_bytes(), None)
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    file = tmp_path / "key.pem"
    file.write_bytes(locked)
    with pytest.raises(ConfigError, match="the key has a password"):
        Certificates(office.cert, file)
