"""Where participants are kept: a subclass provides a store, and all stores pass the same tests."""

import asyncio
import errno
import os
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import redis

from tests.cluster import Cluster
from tests.redis_server import RedisServer
from tests.support import PATIENCE, ROOT, Server, create, run_wood
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.participants import ClusterParticipants
from wood.exchange.cluster.scripts import PARTICIPANT
from wood.exchange.participants import ParticipantFile, ParticipantStore
from wood.model.errors import ConfigError
from wood.model.participants import Participant, digest

DIGEST = "0123456789abcdef" * 4
START = 1_600_000_000
"""Before any test runs, in seconds."""


class ParticipantStoreTests(ABC):
    """The suite."""

    @abstractmethod
    def open(self) -> ParticipantStore:
        """The store of this test; another operator's, if it is asked for again."""

    def run(self, *steps: Callable[[ParticipantStore], Awaitable[Any]]) -> list[Any]:
        """What each step returns, one after the other."""

        async def main() -> list[Any]:
            store = self.open()
            try:
                return [await step(store) for step in steps]
            finally:
                await store.close()

        return asyncio.run(main())

    def participants(self) -> dict[str, Participant]:
        [found] = self.run(lambda store: store.list())
        assert isinstance(found, dict)
        return found

    def refused(self, step: Callable[[ParticipantStore], Awaitable[Any]], *words: str) -> None:
        """It is an error of one line, and nothing has changed."""
        before = self.participants()
        with pytest.raises(ConfigError) as caught:
            self.run(step)
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)
        assert self.participants() == before

    def test_nobody_is_there(self) -> None:
        assert self.participants() == {}

    def test_what_is_kept_of_who_is_added(self) -> None:
        alice, root, _ = self.run(
            lambda s: s.add("alice"),
            lambda s: s.add("ro-o_t.9", operator=True),
            lambda s: s.add("x" * 32),
        )
        found = self.participants()
        assert set(found) == {"alice", "ro-o_t.9", "x" * 32}
        added = found["alice"].added
        assert added > START
        assert found["alice"] == Participant(digest(alice), added, operator=False, disabled=False)
        assert found["ro-o_t.9"].digest == digest(root)
        assert found["ro-o_t.9"].operator
        assert len(alice) == 43
        assert alice != root

    def test_a_name_is_added_once(self) -> None:
        self.run(lambda s: s.add("alice", operator=True))
        self.refused(lambda s: s.add("alice"), "alice exists", "wood participant rotate alice")

    @pytest.mark.parametrize("name", ["", "a~b", "a b", "x" * 33, "alice\n", "\u00e9", "a:b"])
    def test_a_name_that_is_none(self, name: str) -> None:
        steps: list[Callable[[ParticipantStore], Awaitable[Any]]] = [
            lambda s: s.add(name),
            lambda s: s.rotate(name),
            lambda s: s.disable(name),
            lambda s: s.enable(name),
        ]
        for step in steps:
            self.refused(step, "no name of a participant: write 1 to 32")
        assert self.participants() == {}

    def test_a_name_that_nobody_has(self) -> None:
        self.run(lambda s: s.add("alice"))
        steps: list[Callable[[ParticipantStore], Awaitable[Any]]] = [
            lambda s: s.rotate("Alice"),
            lambda s: s.disable("Alice"),
            lambda s: s.enable("Alice"),
        ]
        for step in steps:
            self.refused(step, "there is no participant Alice", "wood participant list")

    def test_disabled_and_enabled_again(self) -> None:
        self.run(lambda s: s.add("alice", operator=True), lambda s: s.add("bob"))
        before = self.participants()
        for _ in range(2):
            self.run(lambda s: s.disable("alice"))
            found = self.participants()
            alice = before["alice"]
            assert found["alice"] == Participant(alice.digest, alice.added, True, True)
            assert found["bob"] == before["bob"]
        for _ in range(2):
            self.run(lambda s: s.enable("alice"))
            assert self.participants() == before

    def test_another_token(self) -> None:
        first, second = self.run(
            lambda s: s.add("alice", operator=True), lambda s: s.rotate("alice")
        )
        assert second != first
        [found] = self.participants().values()
        assert found == Participant(digest(second), found.added, operator=True, disabled=False)
        self.run(lambda s: s.disable("alice"))
        [third] = self.run(lambda s: s.rotate("alice"))
        after = Participant(digest(third), found.added, operator=True, disabled=True)
        assert self.participants() == {"alice": after}

    def test_one_of_many_operators_adds_a_name(self) -> None:
        async def add(name: str) -> str | ConfigError:
            store = self.open()
            try:
                return await store.add(name)
            except ConfigError as error:
                return error
            finally:
                await store.close()

        async def main() -> list[str | ConfigError]:
            names = [name for number in range(30) for name in ("same", f"own-{number}")]
            return await asyncio.gather(*map(add, names))

        answers = asyncio.run(main())
        assert not any(isinstance(answer, ConfigError) for answer in answers[1::2])
        [token] = [answer for answer in answers[::2] if isinstance(answer, str)]
        found = self.participants()
        assert len(found) == 31
        assert found["same"].digest == digest(token), (
            "the token that was shown is the one that fits"
        )


class TestFile(ParticipantStoreTests):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path / "participants.json"

    def open(self) -> ParticipantFile:
        return ParticipantFile(self.path)

    def write(self, text: str | bytes) -> None:
        self.path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def test_what_the_file_looks_like(self) -> None:
        token, *_ = self.run(
            lambda s: s.add("bob"), lambda s: s.add("alice"), lambda s: s.disable("bob")
        )
        added = self.participants()["bob"].added
        last = f'"bob":{{"digest":"{digest(token)}","added":{added},'
        last += '"operator":false,"disabled":true}'
        text = self.path.read_text()
        assert text.splitlines()[2] == last, "one line for each, by name"
        assert token not in text
        assert self.path.stat().st_mode & 0o777 == 0o600
        assert [path.name for path in self.path.parent.iterdir()] == ["participants.json"]

    def test_one_that_a_person_wrote(self) -> None:
        self.write(f'{{"a": {{"added": 5, "digest": "{DIGEST}"}}}}')
        assert self.open().load() == {"a": Participant(DIGEST, 5)}
        self.write("{}")
        assert self.open().load() == {}

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("", "not JSON of participants"),
            ("{", "not JSON of participants"),
            ("[]", "not JSON of participants"),
            (b'{"\xff":1}', "not JSON of participants"),
            ('{"a":' * 100_000, "not JSON of participants"),
            ('{"a~b":RECORD}', "'a~b' is no name of a participant"),
            ('{"":RECORD}', "'' is no name of a participant"),
            ('{"good":RECORD,"a\\n":RECORD}', r"'a\n' is no name of a participant"),
            ('{"a":1}', "participant a: Expected `object`, got `int`"),
            ('{"a":{"digest":"DIGEST"}}', "participant a: Object missing required field `added`"),
            ('{"a":{"added":1}}', "participant a: Object missing required field `digest`"),
            (
                '{"a":{"digest":"DIGEST","added":1,"disbled":true}}',
                "participant a: Object contains unknown field `disbled`",
            ),
            ('{"a":{"digest":"DIGEST","added":"1"}}', "participant a: Expected `int`, got `str`"),
            ('{"a":{"digest":"DIGEST","added":1e20}}', "participant a: "),
            ('{"a":{"digest":"DIGEST","added":-1}}', "participant a: "),
            ('{"a":{"digest":"DIGEST","added":999999999999999}}', "participant a: "),
            ('{"a":{"digest":"DIGEST","added":1,"disabled":0}}', "participant a: Expected `bool`"),
            ('{"a":{"digest":"DIGEST0","added":1}}', "participant a: digest must be 64 of"),
            ('{"a":{"digest":"DIGEST\\n","added":1}}', "participant a: digest must be 64 of"),
            (f'{{"a":{{"digest":"{"g" * 64}","added":1}}}}', "participant a: digest must be 64 of"),
            (f'{{"a":{{"digest":"{"A" * 64}","added":1}}}}', "participant a: digest must be 64 of"),
        ],
    )
    def test_a_broken_file(self, text: str | bytes, fault: str) -> None:
        if isinstance(text, str):
            record = '{"digest":"DIGEST","added":1}'
            text = text.replace("RECORD", record).replace("DIGEST", DIGEST)
        self.write(text)
        before = self.path.read_bytes()
        for step in (self.participants, lambda: self.run(lambda s: s.add("bob"))):
            with pytest.raises(ConfigError) as caught:
                step()
            assert str(caught.value).startswith(f"{self.path}: {fault}")
            assert "\n" not in str(caught.value)
            assert self.path.read_bytes() == before
        assert [path.name for path in self.path.parent.iterdir()] == ["participants.json"]

    @pytest.mark.parametrize("missing", ["none/participants.json", "file/participants.json"])
    def test_there_is_no_such_folder(self, tmp_path: Path, missing: str) -> None:
        (tmp_path / "file").touch()
        self.path = tmp_path / missing
        with pytest.raises(ConfigError, match=f"^{self.path}: No"):
            self.run(lambda s: s.add("alice"))

    def test_a_folder_is_no_file(self) -> None:
        self.path.mkdir()
        for step in (self.participants, lambda: self.run(lambda s: s.add("alice"))):
            with pytest.raises(ConfigError, match=f"^{self.path}: Is a directory$"):
                step()

    def test_it_is_on_disk_before_it_takes_the_place_of_the_former(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[tuple[str, str, list[str]]] = []
        fsync, rename = os.fsync, Path.replace

        def note(what: str, descriptor: int | Path) -> None:
            path = (
                descriptor
                if isinstance(descriptor, Path)
                else Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            )
            inside = sorted(name.name for name in self.path.parent.iterdir())
            done.append((what, "" if path == self.path.parent else path.read_text(), inside))

        def noted_fsync(descriptor: int) -> None:
            note("fsync", descriptor)
            fsync(descriptor)

        def noted_rename(path: Path, target: Path) -> Path:
            note("rename", path)
            return rename(path, target)

        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(Path, "replace", noted_rename)
        self.run(lambda s: s.add("alice"))
        text = self.path.read_text()
        new = ".participants.json.new"
        assert done == [
            ("fsync", text, [new]),
            ("rename", text, [new]),
            ("fsync", "", ["participants.json"]),
        ]

    @pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
    def test_what_cannot_be_written_leaves_the_former(
        self, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        self.run(lambda s: s.add("alice"))
        before = self.path.read_bytes()

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(step, full)
            with pytest.raises(ConfigError, match=f"^{self.path}: No space left on device$"):
                self.run(lambda s: s.add("bob"))
        assert self.path.read_bytes() == before
        assert [path.name for path in self.path.parent.iterdir()] == ["participants.json"]

    def test_what_a_crash_left_is_in_nobodys_way(self) -> None:
        left = self.path.with_name(".participants.json.new")
        left.write_text("half of")
        left.chmod(0o644)
        self.run(lambda s: s.add("alice"))
        assert set(self.participants()) == {"alice"}
        assert self.path.stat().st_mode & 0o777 == 0o600
        assert not left.exists()

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        target = tmp_path / "real" / "file.json"
        self.path.symlink_to(target)
        self.run(lambda s: s.add("alice"), lambda s: s.add("bob"))
        assert self.path.is_symlink()
        assert set(ParticipantFile(target).load()) == {"alice", "bob"}

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root writes files of others")
    def test_what_root_writes_stays_the_servers(self) -> None:
        self.write("{}")
        os.chown(self.path, 12345, 23456)
        self.run(lambda s: s.add("alice"))
        found = self.path.stat()
        assert (found.st_uid, found.st_gid) == (12345, 23456)

    def test_many_processes_lose_nothing(self) -> None:
        code = (
            "import asyncio, sys; from pathlib import Path\n"
            "from wood.exchange.participants import ParticipantFile\n"
            "store = ParticipantFile(Path(sys.argv[1])); print(flush=True); input()\n"
            "for n in range(10): asyncio.run(store.add(f'{sys.argv[2]}-{n}'))\n"
            "asyncio.run(store.disable(f'{sys.argv[2]}-5'))\n"
        )
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(self.path), f"p{number}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=ROOT,
                text=True,
            )
            for number in range(12)
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # it is as far as the others
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            process.communicate(timeout=PATIENCE)
            assert process.returncode == 0
        found = self.participants()
        assert set(found) == {f"p{number}-{n}" for number in range(12) for n in range(10)}
        disabled = {name for name, who in found.items() if who.disabled}
        assert disabled == {f"p{number}-5" for number in range(12)}

    def test_who_reads_meanwhile_never_finds_half_a_file(self) -> None:
        sizes: list[int] = []

        def write() -> None:
            for number in range(60):
                self.run(lambda s, number=number: s.add(f"n{number}"))  # type: ignore[misc]

        writer = threading.Thread(target=write)
        writer.start()
        try:
            while writer.is_alive():
                sizes.append(len(self.open().load()))
        finally:
            writer.join()
        assert sizes == sorted(sizes)
        assert len(set(sizes)) > 1, "it was read in between"
        assert len(self.open().load()) == 60


class TestChanged:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "participants.json"

    @pytest.fixture
    def file(self, path: Path) -> Iterator[ParticipantFile]:
        file = ParticipantFile(path)
        assert file.changed(), "nothing was loaded yet"
        file.load()
        assert not file.changed(), "no file, as before"
        yield file
        file.load()
        assert not file.changed()

    def replace(self, path: Path, text: str, time_ns: int = 10**18) -> None:
        other = path.with_name("other")
        other.write_text(text)
        os.utime(other, ns=(time_ns, time_ns))
        other.replace(path)

    def record(self, digit: str) -> str:
        return f'{{"alice":{{"digest":"{digit * 64}","added":1}}}}'

    def test_it_comes_and_goes(self, file: ParticipantFile, path: Path) -> None:
        path.write_text("{}")
        assert file.changed()
        file.load()
        assert not file.changed()
        path.unlink()
        assert file.changed()

    def test_it_is_replaced_by_one_of_the_same_size_and_time(
        self, file: ParticipantFile, path: Path
    ) -> None:
        self.replace(path, self.record("a"))
        assert file.load()["alice"].digest == "a" * 64
        before = path.stat()
        self.replace(path, self.record("b"))
        after = path.stat()
        assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        assert file.changed()
        assert file.load()["alice"].digest == "b" * 64

    @pytest.mark.parametrize("text", ["b", "b "])
    def test_it_is_written_over(self, file: ParticipantFile, path: Path, text: str) -> None:
        path.write_text(self.record("a"))
        file.load()
        path.write_text(self.record("b") + text[1:])
        before = path.stat()
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        assert file.changed()

    def test_every_change_of_an_operator_shows(self, file: ParticipantFile, path: Path) -> None:
        operator = ParticipantFile(path)
        steps: list[Callable[[], Awaitable[Any]]] = [
            lambda: operator.add("alice"),
            lambda: operator.disable("alice"),
            lambda: operator.enable("alice"),
            lambda: operator.rotate("alice"),
        ]
        for step in steps:

            async def run(step: Callable[[], Awaitable[Any]] = step) -> None:
                await step()

            asyncio.run(run())
            assert file.changed()
            file.load()
            assert not file.changed()

    def test_a_broken_one_is_told_once(self, file: ParticipantFile, path: Path) -> None:
        path.write_text("{")
        with pytest.raises(ConfigError):
            file.load()
        assert not file.changed()
        self.replace(path, "{}")
        assert file.changed()

    def test_one_that_may_not_be_read(
        self, file: ParticipantFile, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path.write_text("{}")

        def denied(*_: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", denied)
            with pytest.raises(ConfigError, match=f"^{path}: Permission denied$"):
                file.load()
            assert not file.changed(), "it was told"
        path.chmod(0o640)
        assert file.changed(), "perhaps it may now"


class TestCluster(ParticipantStoreTests):
    @pytest.fixture(autouse=True)
    def _redis(self, redis_url: str, prefix: str) -> Iterator[None]:
        self.url, self.prefix, self.keys = redis_url, prefix, Keys(prefix)
        with redis.Redis.from_url(redis_url, protocol=2) as client:
            self.client: Any = client
            yield

    def open(self) -> ClusterParticipants:
        return ClusterParticipants(self.url, self.prefix)

    def written(self) -> set[str]:
        """All that is under the prefix."""
        return {key.decode() for key in self.client.scan_iter(f"{self.prefix}*", count=1000)}

    def leaving(self) -> list[tuple[bytes, float]]:
        found: list[tuple[bytes, float]] = self.client.zrange(
            self.keys.leaving, 0, -1, withscores=True
        )
        return found

    def test_what_a_record_looks_like(self) -> None:
        token, _ = self.run(lambda s: s.add("alice", operator=True), lambda s: s.disable("alice"))
        record = self.client.hget(self.keys.participants, "alice")
        added = self.participants()["alice"].added
        assert record == b"".join(map(msgpack.packb, (digest(token), added, True, True)))

    def test_nothing_else_is_written(self) -> None:
        self.run(lambda s: s.add("alice"), lambda s: s.rotate("alice"), lambda s: s.enable("alice"))
        assert self.written() == {self.keys.participants}

    def test_who_is_disabled_leaves_at_once(self) -> None:
        self.run(lambda s: s.add("alice"), lambda s: s.add("bob"), lambda s: s.disable("alice"))
        assert self.leaving() == [(b"alice", 0)]
        self.client.zadd(self.keys.leaving, {"bob": 7_000_000})
        self.run(lambda s: s.disable("bob"))
        assert self.leaving() == [(b"alice", 0), (b"bob", 0)], "now, not when it would have been"
        self.run(lambda s: s.enable("alice"))
        assert self.leaving() == [(b"alice", 0), (b"bob", 0)], "its orders are cancelled first"

    def test_who_was_not_disabled_leaves_as_it_would_have(self) -> None:
        self.run(lambda s: s.add("alice"))
        self.client.zadd(self.keys.leaving, {"alice": 7_000_000})
        self.run(lambda s: s.enable("alice"), lambda s: s.rotate("alice"))
        assert self.leaving() == [(b"alice", 7_000_000)]

    def test_nodes_hear_of_who_is_disabled(self) -> None:
        self.client.hset(self.keys.meta, "id", "abc")
        with self.client.pubsub() as channel:
            channel.psubscribe(f"{self.keys.channels()}*")
            assert channel.get_message(timeout=PATIENCE)["type"] == "psubscribe"
            self.run(
                lambda s: s.add("alice"),
                lambda s: s.rotate("alice"),
                lambda s: s.disable("alice"),
                lambda s: s.enable("alice"),
            )
            self.client.publish(self.keys.channel("abc"), "last")
            messages = [channel.get_message(timeout=PATIENCE) for _ in range(2)]
        assert [message["data"] for message in messages] == [b"", b"last"]
        assert messages[0]["channel"] == self.keys.channel("abc").encode()

    def test_without_a_partition_nobody_is_told(self) -> None:
        with self.client.pubsub() as channel:
            channel.psubscribe(f"{self.keys.channels()}*")
            assert channel.get_message(timeout=PATIENCE)["type"] == "psubscribe"
            self.run(lambda s: s.add("alice"), lambda s: s.disable("alice"))
            self.client.publish(self.keys.channel(""), "last")
            assert channel.get_message(timeout=PATIENCE)["data"] == b"last"

    def test_they_outlive_the_book(self, start_server: Callable[..., Server]) -> None:
        """Added before there is any; and neither a first node nor `wood reset` clears them."""
        self.run(lambda s: s.add("alice"), lambda s: s.add("bob"), lambda s: s.disable("bob"))
        before = self.participants()
        cluster = Cluster(start_server, self.url, self.prefix, nodes=1)
        with cluster.nodes[0].trader() as trader:
            assert trader.ask(create(1, "BUY", 9.5, 5))["report"] == "NEW"
        cluster.nodes[0].stop()
        node = cluster.start()
        assert cluster.orders() == {}, "the first node cleared the book"
        assert self.participants() == before
        node.stop()
        self.run(lambda s: s.disable("bob"))
        where = ("--redis", self.url, "--prefix", self.prefix, "--yes")
        assert run_wood("reset", *where).stdout == "cleared: 0 orders were open\n"
        assert self.written() == {self.keys.participants}
        assert self.participants() == before
        done = run_wood("reset", *where)
        assert done.stdout == f"there is no book under the prefix {self.prefix}\n"
        assert self.participants() == before

    @pytest.mark.parametrize(
        ("name", "record"),
        [
            ("alice", b""),
            ("alice", b"\xc1"),
            ("alice", msgpack.packb("x" * 64)),
            ("alice", b"".join(map(msgpack.packb, ("x" * 64, 1, False, False)))),
            ("alice", b"".join(map(msgpack.packb, (DIGEST, 1, 0, False)))),
            ("alice", b"".join(map(msgpack.packb, (DIGEST, 1, False, False, False)))),
            ("a~b", b"".join(map(msgpack.packb, (DIGEST, 1, False, False)))),
            (b"\xff", b"".join(map(msgpack.packb, (DIGEST, 1, False, False)))),
        ],
    )
    def test_what_someone_else_wrote_is_one_line(self, name: str | bytes, record: bytes) -> None:
        self.client.hset(self.keys.participants, name, record)
        with pytest.raises(ConfigError) as caught:
            self.participants()
        assert str(caught.value).startswith(f"{self.keys.participants}: ")
        assert "\n" not in str(caught.value)

    def test_an_unknown_change_fails_loudly(self) -> None:
        self.run(lambda s: s.add("alice"))
        before = self.participants()

        async def change(store: ParticipantStore) -> None:
            assert isinstance(store, ClusterParticipants)
            keys = [self.keys.participants, self.keys.leaving, self.keys.meta]
            await PARTICIPANT.run(store._client, keys, "alice", "promote", "", 0, "")

        with pytest.raises(redis.ResponseError, match="unknown change promote"):
            self.run(change)
        assert self.participants() == before

    def test_redis_goes_away_before_it_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def broken(*_: object) -> None:
            raise redis.ConnectionError("Connection closed by server.")

        monkeypatch.setattr(PARTICIPANT, "run", broken)
        self.refused(lambda s: s.add("alice"), "Redis went away", "wood participant list")
        self.refused(lambda s: s.disable("alice"), "Redis went away", "do it again")

    def test_there_is_no_redis(self) -> None:
        self.url = "redis://127.0.0.1:1/0"
        with pytest.raises(ConfigError, match="cannot reach Redis"):
            self.participants()
        with pytest.raises(ConfigError, match="cannot reach Redis"):
            self.run(lambda s: s.add("alice"))


class TestRefusedByRedis:
    """What Redis refuses is done not at all, rather than by half."""

    def disable(self, url: str) -> None:
        async def main() -> None:
            store = ClusterParticipants(url, "wood")
            try:
                await store.disable("alice")
            finally:
                await store.close()

        asyncio.run(main())

    def prepare(self, server: RedisServer) -> dict[str, Participant]:
        with server.client() as client:
            client.hset(Keys("wood").meta, "id", "abc")
        return self.participants(server, add="alice")

    def participants(self, server: RedisServer, add: str = "") -> dict[str, Participant]:
        async def main() -> dict[str, Participant]:
            store = ClusterParticipants(server.url, "wood")
            try:
                if add:
                    await store.add(add)
                return await store.list()
            finally:
                await store.close()

        return asyncio.run(main())

    def check_unchanged(self, server: RedisServer, before: dict[str, Participant]) -> None:
        assert self.participants(server) == before
        with server.client() as client:
            assert not client.exists(Keys("wood").leaving)

    def test_it_may_not_publish(self, start_redis: Callable[..., RedisServer]) -> None:
        server = start_redis()
        before = self.prepare(server)
        with server.client() as client:
            client.execute_command("ACL SETUSER op on >pw ~* +@all resetchannels")
        with pytest.raises(redis.RedisError):
            self.disable(server.url.replace("//", "//op:pw@"))
        self.check_unchanged(server, before)

    def test_it_is_out_of_memory(self, start_redis: Callable[..., RedisServer]) -> None:
        server = start_redis()
        before = self.prepare(server)
        with server.client() as client:
            client.config_set("maxmemory", "1")
        with pytest.raises(redis.RedisError, match="maxmemory"):
            self.disable(server.url)
        self.check_unchanged(server, before)
