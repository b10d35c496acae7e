"""Where one server keeps participants: a file."""

import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.participant_stores import DIGEST, ParticipantStoreTests
from tests.support import PATIENCE, ROOT
from wood.exchange.participants import ParticipantFile
from wood.model.errors import ConfigError
from wood.model.limits import NONE, Limits
from wood.model.participants import Participant, digest


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

    def test_limits_that_a_person_wrote(self) -> None:
        text = '{"*": {"rate": 5, "order_value": -1}, "GOLD": {"position": 0.5}, "TIN": {}}'
        self.write(f'{{"a": {{"added": 5, "digest": "{DIGEST}", "limits": {text}}}}}')
        own = {"*": Limits(rate=5.0, order_value=NONE), "GOLD": Limits(position=0.5)}
        assert self.open().load() == {"a": Participant(DIGEST, 5, limits=own)}

    def test_what_is_kept_of_limits(self) -> None:
        self.run(
            lambda s: s.add("alice"),
            lambda s: s.limit("alice", {"rate": 100.0, "order_value": NONE}),
            lambda s: s.limit("alice", {"position": 0.5}, "GOLD"),
        )
        ends = '"limits":{"*":{"rate":100.0,"order_value":-1.0},"GOLD":{"position":0.5}}}'
        assert self.path.read_text().splitlines()[1].endswith(ends)
        self.run(
            lambda s: s.limit("alice", {"rate": None, "order_value": None}),
            lambda s: s.limit("alice", {"position": None}, "GOLD"),
        )
        assert "limits" not in self.path.read_text(), "as before they were set"

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
            *(
                (
                    f'{{"a":{{"digest":"DIGEST","added":1,"limits":{limits}}}}}',
                    f"participant a: {said}",
                )
                for limits, said in (
                    ("[]", "Expected `object`, got `array` - at `$.limits`"),
                    ('{"*":{"rates":1}}', "Object contains unknown field `rates`"),
                    ('{"*":{"rate":"1"}}', "Expected `float | null`, got `str`"),
                    ('{"*":{"rate":1e999}}', "Number out of range"),
                    ('{"*":{"rate":0.5}}', "a limit of 0.5 for rate is no whole number"),
                    ('{"*":{"position":-2}}', "a limit of -2 for position cannot be"),
                    ('{"W":{"rate":1}}', "a limit of the rate holds in all instruments"),
                    ('{"W D":{"position":1}}', "instrument 'W D': a symbol is 1 to 32"),
                    ('{"a\\n":{"position":1}}', r"instrument 'a\n': a symbol is 1 to 32"),
                )
            ),
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
            lambda: operator.limit("alice", {"position": 5.0}, "WOOD"),
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
