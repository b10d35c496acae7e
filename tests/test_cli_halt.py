"""`wood halt` and `wood resume`, against a server that says what the test wants it to."""

import pytest

from tests.support import run_wood_here
from tests.test_cli_cancel import LOGGED_IN, LOGIN, WHO, Serve, error, mistake, serve

__all__ = ["serve"]  # the fixture

HALT = {"message": "halt", "symbol": "WOOD"}
HALTED = HALT | {"state": "halted"}


def test_an_instrument(serve: Serve) -> None:
    server = serve([LOGGED_IN], [HALTED])
    done = run_wood_here("halt", "WOOD", "-p", str(server.port), **WHO)
    assert (done.returncode, done.stdout, done.stderr) == (0, "WOOD is halted\n", "")
    server.end()
    assert server.heard == [LOGIN, HALT]


def test_several_of_them(serve: Serve) -> None:
    answers = [{"message": "resume", "symbol": symbol, "state": "open"} for symbol in ("A", "B")]
    server = serve([LOGGED_IN], *[[answer] for answer in answers])
    done = run_wood_here("resume", "A", "B", "-p", str(server.port), **WHO)
    assert (done.returncode, done.stdout) == (0, "A is open\nB is open\n")


def test_one_that_is_refused_keeps_none_of_the_others(serve: Serve) -> None:
    server = serve([LOGGED_IN], [error("unknown_symbol")], [HALTED])
    done = run_wood_here("halt", "NOPE", "WOOD", "-p", str(server.port), **WHO)
    assert (done.returncode, done.stdout) == (1, "WOOD is halted\n")
    assert done.stderr.startswith("wood: NOPE: the server refuses: ")
    assert "(unknown_symbol)" in done.stderr


@pytest.mark.parametrize(
    "answer",
    [
        HALT,
        HALTED | {"symbol": "PEAR"},
        HALTED | {"state": "open"},
        HALTED | {"state": "\x1b[2J"},
        {"message": "halt"},
    ],
)
def test_an_answer_that_is_none(serve: Serve, answer: dict[str, object]) -> None:
    server = serve([LOGGED_IN], [answer])
    done = run_wood_here("halt", "WOOD", "-p", str(server.port), **WHO)
    assert "did not say that WOOD is halted" in mistake(done)


def test_what_a_server_says_cannot_command_the_terminal(serve: Serve) -> None:
    said = {"message": "error", "error": "\x1b[2J\x9b1m\u202e\r\nok" + "x" * 9999, "code": "\x07"}
    server = serve([said])
    line = mistake(run_wood_here("halt", "WOOD", "-p", str(server.port), **WHO))
    assert r"\x1b[2J\x9b1m\u202e\r\nok" in line
    assert line.endswith(r"(\x07)")
    assert len(line) < 1000


@pytest.mark.parametrize("word", ["halt", "resume"])
def test_a_mistake_is_one_line(word: str) -> None:
    assert "Missing argument 'SYMBOL...'" in mistake(run_wood_here(word, **WHO), code=2)
    assert "Missing option '--token'" in mistake(
        run_wood_here(word, "WOOD", WOOD_OPERATOR="root"), code=2
    )
