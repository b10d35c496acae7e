"""Where nodes keep participants: Redis."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgpack
import pytest
import redis

from tests.cluster import Cluster
from tests.participant_stores import DIGEST, ParticipantStoreTests
from tests.redis_server import RedisServer
from tests.support import PATIENCE, Server, create, run_wood_here
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.layout import Layout
from wood.exchange.cluster.participants import ClusterParticipants
from wood.exchange.cluster.scripts import PARTICIPANT
from wood.exchange.participants import ParticipantStore
from wood.model.errors import ConfigError
from wood.model.limits import NONE
from wood.model.participants import Participant, digest


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

    def test_what_limits_look_like(self) -> None:
        """As `decide.lua` reads them: numbers, -1 for none, and nothing that is empty."""
        self.run(
            lambda s: s.add("alice"),
            lambda s: s.limit("alice", {"rate": 100.0, "order_value": NONE}),
            lambda s: s.limit("alice", {"position": 0.5}, "GOLD"),
        )
        assert self.written() == {self.keys.participants, self.keys.limits}
        assert self.client.hkeys(self.keys.limits) == [b"alice"]
        kept = msgpack.unpackb(self.client.hget(self.keys.limits, "alice"))
        assert kept == {"*": {"rate": 100, "order_value": -1}, "GOLD": {"position": 0.5}}
        self.run(lambda s: s.limit("alice", {"position": None}, "GOLD"))
        kept = msgpack.unpackb(self.client.hget(self.keys.limits, "alice"))
        assert kept == {"*": {"rate": 100, "order_value": -1}}
        self.run(lambda s: s.limit("alice", {"rate": None, "order_value": None}))
        assert self.written() == {self.keys.participants}

    def test_who_was_removed_leaves_its_limits_to_nobody(self) -> None:
        """As docs/cluster.md says how to remove them, but forgetting the second hash."""
        self.client.hset(self.keys.partitions, "metals", "metals")
        self.run(lambda s: s.add("alice"), lambda s: s.limit("alice", {"rate": 5.0}))
        self.client.delete(self.keys.participants, Keys(self.prefix, "metals").participants)
        assert self.participants() == {}
        self.run(lambda s: s.add("alice"))
        assert self.participants()["alice"].limits == {}
        assert not self.client.exists(self.keys.limits, Keys(self.prefix, "metals").limits)

    def test_limits_are_in_all_partitions(self) -> None:
        """Also in one that is added later."""
        self.client.hset(self.keys.partitions, "metals", "metals")
        metals, later = Keys(self.prefix, "metals"), Keys(self.prefix, "later")
        self.run(
            lambda s: s.add("alice"),
            lambda s: s.limit("alice", {"rate": 5.0}),
            lambda s: s.limit("alice", {"position": 7.0}, "GOLD"),
        )
        kept = self.client.hgetall(self.keys.limits)
        assert msgpack.unpackb(kept[b"alice"]) == {"*": {"rate": 5}, "GOLD": {"position": 7}}
        assert self.client.hgetall(metals.limits) == kept

        async def admit() -> None:
            layout = Layout(self.url, self.prefix)
            try:
                await layout.admit({"metals": "metals", "later": "later"})
            finally:
                await layout.close()

        asyncio.run(admit())
        assert self.client.hgetall(later.limits) == kept
        self.client.hset(self.keys.partitions, "later", "later")
        self.run(
            lambda s: s.limit("alice", {"rate": None}),
            lambda s: s.limit("alice", {"position": None}, "GOLD"),
        )
        assert not self.client.exists(self.keys.limits, metals.limits, later.limits)

    def test_many_operators_leave_the_same_in_all_partitions(self) -> None:
        self.client.hset(self.keys.partitions, "metals", "metals")
        self.test_many_operators_set_limits_at_once()
        metals = Keys(self.prefix, "metals").limits
        assert self.client.hgetall(metals) == self.client.hgetall(self.keys.limits)

    def test_who_is_overtaken_leaves_nothing_old_in_other_partitions(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.client.hset(self.keys.partitions, "metals", "metals")

        async def main() -> None:
            slow, quick = self.open(), self.open()
            await slow.add("alice")
            hget, overtaken = slow._client.hget, False

            async def read(key: str, name: str) -> Any:
                nonlocal overtaken
                found = await hget(key, name)
                if key == self.keys.limits and not overtaken:
                    overtaken = True
                    await quick.limit("alice", {"position": 7.0}, "GOLD")
                return found

            monkeypatch.setattr(slow._client, "hget", read)
            await slow.limit("alice", {"rate": 5.0})
            assert overtaken
            await slow.close()
            await quick.close()

        asyncio.run(main())
        kept = self.client.hgetall(self.keys.limits)
        assert msgpack.unpackb(kept[b"alice"]) == {"*": {"rate": 5}, "GOLD": {"position": 7}}
        assert self.client.hgetall(Keys(self.prefix, "metals").limits) == kept

    @pytest.mark.parametrize(
        ("limits", "said"),
        [
            (b"", "its limits cannot be read"),
            (b"\xc1", "its limits cannot be read"),
            (msgpack.packb({}) * 2, "its limits cannot be read"),
            (msgpack.packb([]), "Expected `object`"),
            (msgpack.packb({"*": {"rates": 1}}), "unknown field `rates`"),
            (msgpack.packb({"W D": {"position": 1}}), "a symbol is 1 to 32"),
        ],
    )
    def test_limits_that_someone_else_wrote(self, limits: bytes, said: str) -> None:
        self.run(lambda s: s.add("alice"))
        self.client.hset(self.keys.limits, "alice", limits)
        with pytest.raises(ConfigError, match=said) as caught:
            self.participants()
        assert "\n" not in str(caught.value)

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
            channel.ssubscribe(self.keys.channel("abc"))
            assert channel.get_message(timeout=PATIENCE)["type"] == "ssubscribe"
            self.run(
                lambda s: s.add("alice"),
                lambda s: s.rotate("alice"),
                lambda s: s.disable("alice"),
                lambda s: s.enable("alice"),
            )
            self.client.spublish(self.keys.channel("abc"), "last")
            messages = [channel.get_message(timeout=PATIENCE) for _ in range(2)]
        assert [message["data"] for message in messages] == [b"", b"last"]
        assert messages[0]["channel"] == self.keys.channel("abc").encode()

    def test_without_a_partition_nobody_is_told(self) -> None:
        with self.client.pubsub() as channel:
            channel.ssubscribe(self.keys.channel(""))
            assert channel.get_message(timeout=PATIENCE)["type"] == "ssubscribe"
            self.run(lambda s: s.add("alice"), lambda s: s.disable("alice"))
            self.client.spublish(self.keys.channel(""), "last")
            assert channel.get_message(timeout=PATIENCE)["data"] == b"last"

    def test_they_outlive_the_book(self, start_server: Callable[..., Server]) -> None:
        """Added before there is any; and neither a first node nor `wood reset` clears them."""
        self.run(lambda s: s.add("alice"), lambda s: s.add("bob"), lambda s: s.disable("bob"))
        self.run(lambda s: s.limit("bob", {"position": 5.0}))
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
        assert run_wood_here("reset", *where).stdout == "cleared: 0 orders were open\n"
        assert self.written() == {self.keys.participants, self.keys.limits}
        assert self.participants() == before
        done = run_wood_here("reset", *where)
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
            keys = [self.keys.participants, self.keys.leaving, self.keys.meta, self.keys.limits]
            await PARTICIPANT.run(store._client, keys, "alice", "promote", "", 0, "", "", "")

        with pytest.raises(redis.ResponseError, match="unknown change promote"):
            self.run(change)
        assert self.participants() == before

    def test_redis_goes_away_before_it_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def broken(*_: object) -> None:
            raise redis.ConnectionError("Connection closed by server.")

        monkeypatch.setattr(PARTICIPANT, "run", broken)
        self.refused(lambda s: s.add("alice"), "Redis went away", "wood participant list")
        self.refused(lambda s: s.disable("alice"), "Redis went away", "do it again")

    def test_a_partition_that_cannot_be_told(self) -> None:
        """`main` has changed, which is what counts; the message says what mends the others."""
        self.client.hset(self.keys.partitions, "metals", "metals")
        metals = Keys(self.prefix, "metals").participants
        self.client.set(metals, "somebody else's")
        rotate = "'wood participant rotate alice' gives it another"
        self.half_done(lambda s: s.add("alice", operator=True), "its token is lost", rotate)
        self.refused(lambda s: s.add("alice"), "exists", "wood participant rotate alice")
        self.half_done(lambda s: s.rotate("alice"), "its token is lost", rotate)
        self.half_done(lambda s: s.disable("alice"), "do it again")
        assert self.participants()["alice"].disabled
        self.client.delete(metals)
        self.run(lambda s: s.rotate("alice"), lambda s: s.disable("alice"))
        assert self.client.hgetall(metals) == self.client.hgetall(self.keys.participants)
        self.client.set(metals, "somebody else's")
        self.half_done(lambda s: s.enable("alice"), "do it again")
        self.client.delete(metals)
        self.run(lambda s: s.enable("alice"))
        assert self.client.hgetall(metals) == self.client.hgetall(self.keys.participants)
        assert self.participants()["alice"].operator

    @pytest.mark.parametrize("error", [ConfigError("too old"), redis.ConnectionError("gone")])
    def test_the_partitions_cannot_be_asked_for(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        async def tags(_: Layout) -> dict[str, str]:
            raise error

        monkeypatch.setattr(Layout, "tags", tags)
        self.half_done(lambda s: s.add("alice"), str(error), "'wood participant rotate alice'")
        self.half_done(lambda s: s.disable("alice"), str(error), "do it again")

    def half_done(self, step: Callable[[ParticipantStore], Awaitable[Any]], *words: str) -> None:
        with pytest.raises(ConfigError, match="was made, but perhaps not in all") as caught:
            self.run(step)
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)

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
