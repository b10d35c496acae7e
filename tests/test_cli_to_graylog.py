"""What `wood -s` makes of the options that say where Graylog is."""

import pytest

from tests.support import run_wood_here


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--graylog", "http://graylog"), "begins with none of udp://, tcp://, tls://"),
        (("--graylog-orders",), "--graylog-orders goes with --graylog URL"),
        (("-m", "--graylog", "udp://h", "--graylog-orders"), "'wood graylog --orders' tells"),
        (("--graylog", "tls://h?ca=/nowhere"), "a file that is not there: /nowhere"),
    ],
)
def test_a_mistake_is_one_line(options: tuple[str, ...], said: str) -> None:
    done = run_wood_here("-s", *options)
    assert done.returncode != 0
    [line] = done.stderr.splitlines()
    assert said in line


@pytest.mark.parametrize("name", ["a\udcff", "a\nb", "x" * 101])
def test_a_name_can_be_read(name: str) -> None:
    """It goes into each record: what cannot be encoded would be lost with all of them."""
    for words in (("-s",), ("graylog", "--graylog", "udp://h"), ("alert", "--once")):
        done = run_wood_here(*words, "--name", name)
        assert done.returncode == 2
        assert "at most 100 characters" in done.stderr


def test_a_password_in_the_address_is_not_repeated() -> None:
    for url in ("tcp://user:s3cret@graylog:12201", "user:s3cret@graylog", "udp://s3cret@h:x"):
        done = run_wood_here("-s", WOOD_GRAYLOG=url)
        assert done.returncode == 1
        assert "the Graylog address" in done.stderr
        assert "s3cret" not in done.stderr
