"""What --redis URL says: forms, ports, passwords, and what is refused."""

from typing import Any

import pytest

from wood.exchange.cluster.addresses import seeds, without_password
from wood.exchange.cluster.client import connect
from wood.model.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "hosts", "name", "text"),
    [
        (
            "sentinel://h1:1,h2,10.0.0.3/trading",
            (("h1", 1), ("h2", 26379), ("10.0.0.3", 26379)),
            "trading",
            "h1:1, h2:26379, 10.0.0.3:26379",
        ),
        ("sentinel://h1/a%20name/", (("h1", 26379),), "a name", "h1:26379"),
        (
            "sentinel://[::1],[fe80::1]:7/x",
            (("::1", 26379), ("fe80::1", 7)),
            "x",
            "[::1]:26379, [fe80::1]:7",
        ),
        ("cluster://h_1.example-a.com", (("h_1.example-a.com", 6379),), "", None),
        ("cluster://[::1]:7000,h2:65535/0", (("::1", 7000), ("h2", 65535)), "", None),
    ],
)
def test_hosts_and_names(
    url: str, hosts: tuple[tuple[str, int], ...], name: str, text: str | None
) -> None:
    found = seeds(url)
    assert found is not None
    assert (found.hosts, found.name, found.tls) == (hosts, name, False)
    assert text is None or str(found) == text


@pytest.mark.parametrize(
    ("url", "options", "of_sentinels"),
    [
        ("sentinel://h/x", {}, {}),
        ("sentinel://h/x/3", {"db": 3}, {}),
        ("sentinel://u:p%40%2F@h/x", {"username": "u", "password": "p@/"}, {}),
        ("sentinel://:p@h/x?sentinel_password=s%26", {"password": "p"}, {"password": "s&"}),
        (
            "sentinel://h/x?sentinel_username=a&sentinel_password=s&client_name=n",
            {"client_name": "n"},
            {"username": "a", "password": "s"},
        ),
        ("cluster://u:p@h1,h2", {"username": "u", "password": "p"}, {}),
        ("cluster://h?password=p", {"password": "p"}, {}),
        ("cluster://h?socket_timeout=2", {"socket_timeout": 2.0}, {}),
    ],
)
def test_options(url: str, options: dict[str, Any], of_sentinels: dict[str, Any]) -> None:
    found = seeds(url)
    assert found is not None
    assert (found.options, found.sentinel_options) == (options, of_sentinels)
    assert "p@" not in repr(found)


@pytest.mark.parametrize(
    "url", ["sentinels://h/x?ssl_ca_certs=/ca", "clusters://h?ssl_ca_certs=/ca"]
)
def test_tls_is_for_all_connections(url: str) -> None:
    found = seeds(url)
    assert found is not None
    assert found.tls
    assert found.options == found.sentinel_options == {"ssl_ca_certs": "/ca"}


@pytest.mark.parametrize("url", ["redis://h:1/0", "rediss://h", "unix:///run/s?db=1"])
def test_a_single_server_is_no_list_of_seeds(url: str) -> None:
    assert seeds(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://:secret@h1,h2",
        "sentinel://:secret@h1,h2/",
        "sentinel://:secret@h1//0",
        "sentinel://:secret@h1/x/y",
        "sentinel://:secret@h1/x/0/1",
        "sentinel://:secret@/x",
        "sentinel://:secret@h1,,h2/x",
        "sentinel://:secret@h1:0/x",
        "sentinel://:secret@h1:65536/x",
        "sentinel://:secret@h1:port/x",
        "sentinel://:secret@::1/x",
        "sentinel://:secret@[::1/x",
        "sentinel://:secret@h1/x?nonsense=1",
        "sentinel://:secret@h1/x?db=secret",
        "cluster://:secret@h1/1",
        "cluster://:secret@h1/name",
        "cluster://:secret@h1?sentinel_password=secret",
        "cluster://",
        "cluster://:secret@h 1",
        # Nobody told the operator that these characters must be escaped in a password.
        "cluster://user:1/secret@h1",
        "cluster://user:1?secret@h1",
        "cluster://user:1#secret@h1",
        "sentinel://user:1/secret@h1/x",
        "sentinel://user:1?secret@h1/x",
        "sentinel://user:1/sec?ret=@h1/x",
        "sentinel://user:1#secret@h1/x",
    ],
)
def test_what_is_refused_is_told_without_its_password(url: str) -> None:
    for single in (False, True):
        with pytest.raises(ConfigError) as caught:
            connect(url, "key", single=single)
        assert str(caught.value).startswith("--redis ")
        assert "sec" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sentinel://u:p@h1,h2/x?sentinel_password=p", "sentinel://h1,h2/x"),
        ("cluster://u:p@h1", "cluster://h1"),
        ("p@h1", "URL"),
    ],
)
def test_what_is_printed(url: str, shown: str) -> None:
    assert without_password(url) == shown
