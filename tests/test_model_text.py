from wood.model.text import printable


def test_what_can_be_printed_is_left_as_it_is() -> None:
    assert printable("größer als 5 €, say 'x' \\n") == "größer als 5 €, say 'x' \\n"
    assert printable("naïve 価格 ~") == "naïve 価格 ~"


def test_nothing_commands_a_terminal_or_begins_a_line() -> None:
    assert printable("\ud800") == r"\ud800"
    assert printable("\x1b[2J\x9b1m\u202e\r\n\u2028ok") == r"\x1b[2J\x9b1m\u202e\r\n\u2028ok"
