import asyncio
import io
import logging

import pytest

from tests.engines import with_loop
from wood.model.log_events import EXTRA, LogEvent, told
from wood.node.log_lines import FewLines, PlainText

HOSTILE = "a\x1b[31mb\x00c\nd\re\u202ef\x9bg"


@pytest.fixture
def log() -> logging.Logger:
    return logging.getLogger("wood.test")


def test_so_many_a_second_and_then_a_count(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.5]
    lines = FewLines(log, "it", 3, lambda: now[0])
    with caplog.at_level(logging.INFO, "wood.test"):
        for number in range(10):
            lines.warning("%d", number)
        lines.flush()
        assert caplog.messages == ["0", "1", "2"], "not before the second is over"
        now[0] += 0.6
        lines.info("%s", "then")
        assert caplog.messages[3:] == ["7 more lines about it were left out", "then"]
        now[0] += 5
        lines.flush()
        assert len(caplog.messages) == 5


def test_fields_are_passed_on_and_what_is_left_out_has_its_own(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    lines = FewLines(log, "it", 1, lambda: now[0])
    for client in ("a:1", "b:2", "c:3"):
        extra = told(LogEvent.CONNECTION_REFUSED, client=client, limit=None)
        lines.warning("from %s", client, extra=extra)
    now[0] += 1
    lines.flush()
    assert [getattr(record, EXTRA) for record in caplog.records] == [
        {"event": "connection.refused", "client": "a:1"},
        {"event": "lines.left_out", "about": "it", "count": 2},
    ]


def test_what_was_left_out_in_the_last_second_is_told_at_the_end(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    lines = FewLines(log, "it", 1, lambda: 100.0)
    for _ in range(4):
        lines.warning("it")
    lines.say_left_out()
    lines.say_left_out()
    assert caplog.messages[-1] == "3 more lines about it were left out"
    assert len(caplog.messages) == 2


def test_a_timer_that_comes_too_early_comes_again(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    lines = FewLines(log, "it", 1, lambda: now[0])

    async def test() -> None:
        for _ in range(4):
            lines.info("it")
        lines._flush_in_time()
        now[0] += 1
        while len(caplog.messages) < 2:
            await asyncio.sleep(0.01)

    with caplog.at_level(logging.INFO, "wood.test"):
        with_loop(test)
    assert caplog.messages[1] == "3 more lines about it were left out"


def test_what_is_not_logged_counts_for_nothing(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    lines = FewLines(log, "it", 1, lambda: 100.0)
    with caplog.at_level(logging.WARNING, "wood.test"):
        for _ in range(5):
            lines.info("no")
        lines.warning("yes")
    assert caplog.messages == ["yes"]


def test_no_value_can_command_a_terminal_or_look_like_a_line(log: logging.Logger) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(PlainText("%(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        log.warning("from %s", HOSTILE)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            log.exception("failed")
    finally:
        log.removeHandler(handler)
    lines = out.getvalue().split("\n")
    assert lines[0] == r"WARNING from a\x1b[31mb\x00c\nd\re\u202ef\x9bg"
    assert all(line.isprintable() for line in lines)
    assert lines[1] == "ERROR failed"
    assert lines[2].startswith("Traceback")
