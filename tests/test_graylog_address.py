from pathlib import Path

import pytest

from wood.graylog.address import Address
from wood.model.errors import ConfigError


def test_an_address_is_a_transport_a_host_and_a_port() -> None:
    address = Address.parse("tcp://graylog.example.com:12202")
    assert (address.scheme, address.host, address.port) == ("tcp", "graylog.example.com", 12202)
    assert str(address) == "tcp://graylog.example.com:12202"


def test_the_port_is_that_of_gelf_where_none_is_named() -> None:
    assert Address.parse("udp://graylog").port == 12201


def test_an_address_of_ipv6() -> None:
    address = Address.parse("tls://[::1]:12201")
    assert (address.host, str(address)) == ("::1", "tls://[::1]:12201")


@pytest.mark.parametrize(
    "host", ["x" * 63 + ".org", "graylog.", "b\u00fccher.example", "::ffff:1.2.3.4"]
)
def test_a_host_that_can_be_looked_up(host: str) -> None:
    assert Address.parse(f"udp://[{host}]" if ":" in host else f"udp://{host}").host == host


def test_options_of_udp() -> None:
    assert Address.parse("udp://graylog").compress
    address = Address.parse("udp://graylog?compress=no&chunk=8000")
    assert (address.compress, address.chunk) == (False, 8000)


def test_options_of_tls(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch()
    files = "&".join(f"{name}={tmp_path / name}" for name in ("ca", "cert", "key"))
    address = Address.parse(f"tls://graylog?{files}")
    assert (address.ca, address.cert) == (tmp_path / "ca", tmp_path / "cert")
    assert address.key == tmp_path / "key"
    assert Address.unpack(address.packed) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("graylog:12201", "begins with none of udp://, tcp://, tls://"),
        ("http://graylog", "begins with none of udp://, tcp://, tls://"),
        ("", "begins with none of"),
        ("udp://", "names no host"),
        ("udp://:12201", "names no host"),
        ("udp://a..b:12201", "names a host that no name can be"),
        ("tls://.graylog", "names a host that no name can be"),
        (f"tcp://{'x' * 64}.example.com", "names a host that no name can be"),
        ("tcp://\udcff.example.com", "names a host that no name can be"),
        ("udp://graylog:port", "is no address"),
        ("udp://graylog:99999", "is no address"),
        ("udp://[::1", "is no address"),
        ("udp://graylog/path", "more than a host, a port and options"),
        ("udp://user:secret@graylog", "more than a host, a port and options"),
        ("udp://graylog?compress=maybe", "neither compress=yes nor compress=no"),
        ("udp://graylog?chunk=99", "a chunk of 100 to 64999 bytes"),
        ("udp://graylog?chunk=65000", "a chunk of 100 to 64999 bytes"),
        ("udp://graylog?chunk=\u0663\u0663\u0663", "a chunk of"),
        ("udp://graylog?ca=file", "those of udp:// are: chunk, compress"),
        ("tcp://graylog?compress=no", "those of tcp:// are: none"),
        ("tls://graylog?ca=/nowhere", "a file that is not there: /nowhere"),
        ("udp://graylog?compress=no&compress=yes", "twice"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Address.parse(text)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_key_needs_its_certificate(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    with pytest.raises(ConfigError, match="add cert=FILE"):
        Address.parse(f"tls://graylog?key={tmp_path / 'key'}")
