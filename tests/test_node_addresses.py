import pytest

from wood.node.addresses import Addresses, group


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", "?"),
    ],
)
def test_who_counts_as_one(host: str, counted: str) -> None:
    assert group(host) == counted


def test_so_many_of_each() -> None:
    addresses = Addresses(2)
    addresses.add("a")
    assert not addresses.full("a")
    addresses.add("a")
    assert addresses.full("a")
    assert not addresses.full("a", spare=1)
    assert not addresses.full("b")
    addresses.remove("a")
    assert not addresses.full("a")


def test_nobody_is_remembered_who_is_gone() -> None:
    addresses = Addresses(0)
    for number in range(100):
        addresses.add(str(number))
        assert not addresses.full(str(number))
        addresses.remove(str(number))
    assert len(addresses) == 0
