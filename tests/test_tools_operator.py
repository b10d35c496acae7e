"""`wood cancel` against real servers: one alone, and a node of a cluster."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.sessions import log_in
from tests.support import Server, create, eventually, run_wood_here

StartServer = Callable[..., Server]


@pytest.mark.parametrize("mode", ["single", "cluster"])
def test_an_operator_cancels_for_others(
    mode: str, redis_url: str, prefix: str, start_server: StartServer, tmp_path: Path
) -> None:
    where: tuple[str, ...] = ("--redis", redis_url, "--prefix", prefix)
    if mode == "single":
        where = ("--participants", str(tmp_path / "participants.json"))
    added = run_wood_here("participant", "add", "root", "--operator", *where)
    who = {"WOOD_OPERATOR": "root", "WOOD_TOKEN": added.stdout.strip()}
    if mode == "single":
        asked = told = start_server(*where)
    else:
        asked, told = Cluster(start_server, redis_url, prefix, nodes=2).nodes

    def cancel(*words: str) -> str:
        done = run_wood_here("cancel", "-p", str(asked.private), *words, **who)
        return done.stdout + done.stderr

    with told.trader() as alice, told.trader() as nobody:
        login = log_in(alice)
        for peer in (alice, nobody):
            for number in range(2):
                assert peer.ask(create(number, "BUY", 5, 1))["report"] == "NEW"
        assert cancel("--participant", "alice") == "cancelled 2 orders\n"
        reports = alice.messages(2)
        assert [report["report"] for report in reports] == ["CANCELED"] * 2
        assert all(report["seq"] > login["seq"] for report in reports)
        # It came in this second, which is not longer ago than none.
        eventually(lambda: cancel("--anonymous-older-than", "0s") == "cancelled 2 orders\n")
        assert [report["report"] for report in nobody.messages(2)] == ["CANCELED"] * 2
        who["WOOD_TOKEN"] = "another"
        assert "(unauthorized)" in cancel("--participant", "alice")
