"""What a random trader hears from the server, and how any message is shown."""

from wood.client import Canceled, Fill, New, ProtocolError, Refused, Report
from wood.client import replies as wire
from wood.client.replies import ErrorReply, ExecutionReport
from wood.tools.errors import UnexpectedReply

__all__ = ["ErrorReply", "ExecutionReport", "decode", "not_a_private_port", "printable", "reply"]


def decode(line: bytes) -> wire.Private:
    """What the server says in `line`. Raises `UnexpectedReply`."""
    try:
        return wire.decode(line)
    except ProtocolError:
        raise not_a_private_port() from None


def reply(report: Report) -> ExecutionReport | ErrorReply | None:
    """The message of the base that `report` was; None if it was none."""
    match report:
        case New():
            return ExecutionReport(report.order_id, "NEW")
        case Fill():
            return ExecutionReport(report.order_id, "FILL", report.price, report.quantity)
        case Canceled():
            return ExecutionReport(report.order_id, "CANCELED")
        case Refused():
            return ErrorReply(report.text, report.code, report.order_id)
    return None


def not_a_private_port() -> UnexpectedReply:
    """What to tell the person when a line is none of the private protocol."""
    return UnexpectedReply(
        "the server does not answer as a private port does; give its private port with -p"
    )


def printable(line: bytes) -> str:
    """`line` as text in which nothing can command the terminal that it is printed on."""
    text = line.decode(errors="backslashreplace").rstrip("\r\n")
    return text if text.isprintable() else repr(text)
