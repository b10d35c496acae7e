"""The dialogues of docs/protocol.md, played against a real server over real sockets."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from tests.support import ROOT, Peer, Server, run_wood_here
from wood.model.errors import ErrorCode, Limit

PAGE = (ROOT / "docs" / "protocol.md").read_text("utf-8")
DIALOGUES = re.findall(r"^```dialogue\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
_SPECIAL = re.findall(r"^```dialogue (.+?)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PARTITIONED = [(words, text) for words, text in _SPECIAL if "=" not in words]
"""The instruments of a cluster, and what is said there."""
RULED = [(words, text) for words, text in _SPECIAL if "=" in words]
"""How `WOOD` is traded, as in a TOML file, or `operator=NAME`; and what is said then."""
TIME = re.compile(rb'"time":[0-9]+\.[0-9]{6}')
NAMES = re.compile(rb'(?<![0-9])[0-9]{16}(?![0-9])|(?<="epoch":)[0-9]+')
"""Epochs, in the names of sessions too."""
END = {"message": "no such message"}


class Dialogue:
    """Plays the lines of one dialogue; each client connects when it is first named."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.peers: dict[str, Peer] = {}
        self.token = ""
        """That of the operator."""
        self.real: dict[bytes, bytes] = {}
        """What the page calls an epoch -> what this server calls it."""

    def play(self, line: str) -> None:
        match = re.fullmatch(r"([\w-]+)([<>]) (.*)", line)
        assert match, line
        name, arrow, text = match.groups()
        if arrow == ">":
            self.say(name, text)
        elif name.startswith("packed"):
            assert self.peer(name).packed(1) == [json.loads(text)], line
        else:
            self.compare(self.peer(name).line(), text.encode())

    def compare(self, told: bytes, expected: bytes) -> None:
        """The page, with this server's own names and times, to the byte."""
        for ours, theirs in zip(NAMES.findall(expected), NAMES.findall(told), strict=False):
            assert self.real.setdefault(ours, theirs) == theirs
        expected = self.translated(TIME.sub(b'"time":T', expected))
        assert TIME.sub(b'"time":T', told).decode() == expected.decode()

    def translated(self, text: bytes) -> bytes:
        return NAMES.sub(lambda name: self.real.get(name[0], name[0]), text)

    def peer(self, name: str) -> Peer:
        if name not in self.peers:
            public = name.startswith("public")
            self.peers[name] = self.server.watcher() if public else self.server.trader()
        return self.peers[name]

    def say(self, name: str, text: str) -> None:
        if name.startswith("packed"):
            self.peer(name).send(msgpack.packb(json.loads(text)))
        else:
            text = text.replace("TOKEN", self.token)
            self.peer(name).send(self.translated(text.encode()) + b"\n")

    def finish(self) -> None:
        """Nobody was told anything more: the next answer is that to one more question."""
        for name, peer in self.peers.items():
            self.say(name, json.dumps(END))
            answer = peer.packed(1)[0] if name.startswith("packed") else peer.message()
            if answer is not None:  # else its last line said why it was closed
                assert answer["error"].startswith("message is not known here"), f"{name}: {answer}"
            peer.socket.close()


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda text: re.sub(r"\W+", " ", text[:50]))
def test_dialogue(dialogue: str, start_server: Callable[..., Server]) -> None:
    server = start_server("--instrument", "WOOD", "--instrument", "PEAR:0.5:10")
    play = Dialogue(server)
    for line in dialogue.splitlines():
        play.play(line)
    play.finish()


@pytest.mark.parametrize(("instruments", "dialogue"), PARTITIONED)
def test_dialogue_with_partitions(
    instruments: str,
    dialogue: str,
    redis_url: str,
    prefix: str,
    start_server: Callable[..., Server],
) -> None:
    listed = [f"--instrument={each}" for each in instruments.split()]
    play = Dialogue(start_server("-m", "--redis", redis_url, "--prefix", prefix, *listed))
    for line in dialogue.splitlines():
        play.play(line)
    play.finish()


@pytest.mark.parametrize("mode", ["single", "cluster"])
@pytest.mark.parametrize(("words", "dialogue"), RULED)
def test_dialogue_with_rules(
    mode: str,
    words: str,
    dialogue: str,
    redis_url: str,
    prefix: str,
    start_server: Callable[..., Server],
    tmp_path: Path,
) -> None:
    rules = dict(word.split("=") for word in words.split())
    where = ["--participants", str(tmp_path / "participants.json")]
    options = ["--instruments", str(tmp_path / "instruments.toml")]
    if mode == "cluster":
        where = ["--redis", redis_url, "--prefix", prefix]
        options += ["-m"]
    token = ""
    if operator := rules.pop("operator", None):
        token = run_wood_here("participant", "add", operator, "--operator", *where).stdout.strip()
    if operator or mode == "cluster":
        options += where
    lines = ['symbol = "WOOD"', *(f"{key} = {_toml(rule)}" for key, rule in rules.items())]
    tables = [lines, ['symbol = "PEAR"', "tick = 0.5", "lot = 10"]]
    text = "\n".join(line for table in tables for line in ["[[instrument]]", *table])
    (tmp_path / "instruments.toml").write_text(text)
    play = Dialogue(start_server(*options))
    play.token = token
    for line in dialogue.splitlines():
        play.play(line)
    play.finish()


def _toml(rule: str) -> str:
    return rule if re.fullmatch(r"[0-9.]+", rule) else f'"{rule}"'


def test_the_page_shows_every_message() -> None:
    """Each word that a client can say or be told stands in some example."""
    said = "\n".join([*DIALOGUES, *(dialogue for _, dialogue in _SPECIAL)])
    for word in (
        *("createOrder", "marketOrder", "cancelOrder", "amendOrder", "cancelAll", "orders"),
        *("instruments", "subscribe", "NEW", "FILL", "CANCELED", "AMENDED", "executionReport"),
        *("orderbook", "trade", "subscribed", "snapshot", "timeInForce", "postOnly", "encoding"),
        *("login", "heartbeat", "session", "lastSeq", "recovered", "epoch", "leaves", "depth"),
        *("partitions", "partition", "halt", "resume", "state", "reason", "limit", "halted"),
        *("operator", "collar", "open"),
    ):
        assert f'"{word}"' in said, word


def test_every_code_is_explained() -> None:
    table = PAGE.split("### Errors")[1].split("## ")[0]
    _, *codes = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)  # the first is the heading
    assert codes == list(ErrorCode)


def test_every_limit_is_explained() -> None:
    table = PAGE.split("### Limits")[1].split("## ")[0]
    limits = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", table, re.MULTILINE)
    assert limits.pop(0) == ("limit", "code")
    assert [limit for limit, _ in limits] == list(Limit)
    assert {code for _, code in limits} == {ErrorCode.LIMIT, ErrorCode.RATE}


def test_the_table_of_rules_names_what_there_is() -> None:
    """Each cell is a code, or what becomes of an order, or that the rule does not look at it."""
    section = PAGE.split("### Which order meets which rule")[1].split("## ")[0]
    _, _, *rows = [line for line in section.splitlines() if line.startswith("|")]
    known = {*map(str, ErrorCode), "CANCELED"}
    for place, row in enumerate(rows, 1):
        number, rule, *cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert int(number) == place
        limits = re.findall(r"`(\w+)`", rule)
        assert all(limit in list(Limit) for limit in limits), rule
        assert len(cells) == 9, row
        for cell in cells:
            word = re.match(r"`(\w+)`|-", cell)
            assert word, cell
            assert word[1] is None or word[1] in known, cell
