"""The services of the compose file that watch, with the profile `monitoring`; without Docker."""

import json
import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import click
import pytest
from ruamel.yaml import YAML

from tests.compose import (
    ALL,
    COMPOSE,
    FILE,
    NODES,
    PASSWORD,
    SERVICES,
    WATCHING,
    address,
    compose,
    options,
)
from tests.docker import only
from tests.support import clean_environment
from wood.cli.main import wood

WOOD = {name: each for name, each in WATCHING.items() if "build" in each}
"""Those that are wood's own image."""


def with_variables(**more: str) -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]]
    services = compose(WOOD_REDIS_PASSWORD=PASSWORD, **more)["services"]
    return services


def test_all_that_watches_is_there_and_only_on_request() -> None:
    stores = {"graylog", "mongodb", "opensearch"}
    assert WATCHING.keys() == stores | {"prometheus", "grafana", "graylog-reader", "alert"}
    assert SERVICES.keys() | WATCHING.keys() == ALL.keys()
    for name, service in SERVICES.items():
        waits_for = set(service.get("depends_on", []))
        assert not waits_for & WATCHING.keys(), f"{name} would not start without the profile"


def test_all_come_back_and_say_how_they_are() -> None:
    for name, service in WATCHING.items():
        assert service["restart"] == "unless-stopped"
        if name in WOOD:
            assert service["healthcheck"] == {"disable": True}
        else:
            assert service["healthcheck"]["test"][0] == "CMD"


def given(service: dict[str, Any]) -> tuple[click.Command, dict[str, Any]]:
    """A watcher's command, and what it makes of the words and the environment."""
    mounted = {each.split(":")[1] for each in service.get("volumes", [])}
    # What is a folder in the container need not be one here.
    word, *words = ["/" if each in mounted else each for each in service["command"]]
    variables = clean_environment(**service["environment"])
    with mock.patch.dict(os.environ, variables, clear=True):
        parent = click.Context(wood, info_name="wood", auto_envvar_prefix="WOOD")
        context = wood.commands[word].make_context(word, words, parent=parent)
    return context.command, context.params


@pytest.mark.parametrize("name", WOOD)
def test_who_reads_the_journal_is_given_a_command_and_options_that_exist(name: str) -> None:
    service = WOOD[name]
    command, found = given(service)
    words = service["command"]
    assert found["name"] == words[words.index("--name") + 1]
    read = {
        option.envvar or f"WOOD_{words[0]}_{option.name}".upper()
        for option in command.params
        if isinstance(option, click.Option)
    }
    assert service["environment"].keys() <= read
    url = urlsplit(found["redis"])
    assert (url.username, url.password, url.hostname) == ("wood", PASSWORD, "redis")
    assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert set(service["networks"]) == {"front", "store"}


def test_alerts_go_to_whom_they_are_to_go() -> None:
    _, found = given(WOOD["alert"])
    assert not any(found[name] for name in ("smtp", "mail_to", "mail_from", "webhook"))
    told = {"SMTP": "smtp://mail", "MAIL_TO": "ops@example.org", "WEBHOOK": "http://hook/"}
    variables = {f"WOOD_ALERT_{name}": value for name, value in told.items()}
    _, found = given(with_variables(**variables)["alert"])
    assert (str(found["smtp"]), *found["mail_to"], *found["webhook"]) == tuple(told.values())
    volume, _, mode = WOOD["alert"]["volumes"][0].split(":")
    assert (f"{volume}:/data" in ALL["redis"]["volumes"], mode) == (True, "ro"), "Redis' own"
    assert list(map(str, found["disk"])) == ["/"], "the folder that is mounted"


def test_the_log_goes_where_graylog_listens() -> None:
    pack = json.loads((FILE.parent / "graylog" / "content-pack.json").read_text())
    ports = {
        each["data"]["configuration"]["port"]["@value"]
        for each in pack["entities"]
        if each["type"]["name"] == "input"
    }
    for service in WOOD.values():
        url = urlsplit(service["environment"]["WOOD_GRAYLOG"])
        assert (url.scheme, url.hostname) == ("tcp", "graylog"), "UDP cannot be confirmed"
        assert {url.port} == ports
    shared = set(WATCHING["graylog"]["networks"])
    for service in (*WOOD.values(), *NODES.values()):
        assert shared & set(service["networks"])


def test_redis_stays_private() -> None:
    on_store = {name for name, service in ALL.items() if "store" in service["networks"]}
    assert on_store == {"redis", *NODES, *WOOD}
    for name in ("mongodb", "opensearch"):
        assert WATCHING[name]["networks"] == ["search"]
        assert "ports" not in WATCHING[name]
    assert COMPOSE["networks"]["search"] == {"internal": True}
    on_search = {name for name, service in ALL.items() if "search" in service["networks"]}
    assert on_search == {"graylog", "mongodb", "opensearch"}


def test_pages_are_published_on_this_machine_only() -> None:
    published = {name: each["ports"] for name, each in WATCHING.items() if "ports" in each}
    assert published == {
        "graylog": ["127.0.0.1:9000:9000"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_graylog_finds_what_it_needs() -> None:
    graylog = WATCHING["graylog"]
    told = graylog["environment"]
    for variable in ("GRAYLOG_MONGODB_URI", "GRAYLOG_ELASTICSEARCH_HOSTS"):
        host = urlsplit(told[variable]).hostname
        assert set(graylog["networks"]) & set(WATCHING[host]["networks"])
        assert graylog["depends_on"][host] == {"condition": "service_healthy"}
    assert WATCHING["opensearch"]["environment"]["action.auto_create_index"] == "false"
    mounted = dict(each.split(":")[:2] for each in graylog["volumes"])
    pack = f"{told['GRAYLOG_CONTENT_PACKS_DIR']}/{told['GRAYLOG_CONTENT_PACKS_AUTO_INSTALL']}"
    assert mounted["./graylog/content-pack.json"] == pack
    assert told["GRAYLOG_CONTENT_PACKS_LOADER_ENABLED"] == "true"


def run(service: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """Its entry point, with stand-ins for the image's programs, which say what they were told."""
    say = folder / "say"
    say.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'import os; print(dict(os.environ))'\n")
    say.chmod(0o755)
    words = service["entrypoint"][service["entrypoint"].index("sh") :]
    words = [re.sub(r"exec /\S+", f"exec {say}", word) for word in words]
    variables = {"PATH": os.defpath, **service["environment"]}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=variables)


@pytest.mark.parametrize("name", ["graylog", "grafana"])
def test_without_a_password_nothing_starts(name: str, tmp_path: Path) -> None:
    done = run(with_variables(WOOD_GRAYLOG_SECRET="s" * 16)[name], tmp_path)
    assert done.returncode != 0
    assert "set WOOD_MONITORING_PASSWORD" in done.stderr
    assert done.stdout == ""


def test_without_its_secret_graylog_does_not_start(tmp_path: Path) -> None:
    done = run(with_variables(WOOD_MONITORING_PASSWORD="hush")["graylog"], tmp_path)
    assert done.returncode != 0
    assert "set WOOD_GRAYLOG_SECRET" in done.stderr


@pytest.mark.parametrize("name", ["graylog", "grafana"])
def test_with_passwords_all_start(name: str, tmp_path: Path) -> None:
    given = {"WOOD_MONITORING_PASSWORD": "hush", "WOOD_GRAYLOG_SECRET": "s" * 16}
    done = run(with_variables(**given)[name], tmp_path)
    assert done.returncode == 0, done.stderr
    if name == "graylog":
        assert f"'GRAYLOG_ROOT_PASSWORD_SHA2': '{sha256(b'hush').hexdigest()}'" in done.stdout
        assert "'PASSWORD'" not in done.stdout
    else:
        assert "'GF_SECURITY_ADMIN_PASSWORD': 'hush'" in done.stdout


def test_what_is_mounted_exists() -> None:
    for service in WATCHING.values():
        for mounted in service.get("volumes", []):
            source, target, *mode = mounted.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert (FILE.parent / source).exists()
                assert mode == ["ro"]
            else:
                assert source in COMPOSE["volumes"]


def test_prometheus_is_let_in() -> None:
    """Nodes answer on their health ports whom they trust, and this one by its address."""
    assert list(WATCHING["prometheus"]["networks"]) == ["front"]
    for node in NODES.values():
        assert address(WATCHING["prometheus"]) in node["environment"]["WOOD_PROXY_PROTOCOL"]


def test_prometheus_and_grafana_find_what_they_watch() -> None:
    read = YAML(typ="safe").load
    prometheus = read((FILE.parent / "prometheus" / "prometheus.yml").read_text())
    (job,) = (each for each in prometheus["scrape_configs"] if each["job_name"] == "wood")
    targets = [target for each in job["static_configs"] for target in each["targets"]]
    asked = [f"{node['hostname']}:{options(node)['health']}" for node in NODES.values()]
    assert sorted(targets) == sorted(asked)
    folder = FILE.parent / "grafana" / "provisioning"
    (source,) = read((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    url = urlsplit(source["url"])
    assert (url.hostname, url.port) == ("prometheus", 9090)
    (provider,) = read((folder / "dashboards" / "wood.yml").read_text())["providers"]
    targets = [each.split(":")[1] for each in WATCHING["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/dashboard.json" in targets


def test_images_have_versions() -> None:
    for name in WATCHING.keys() - WOOD.keys():
        assert re.fullmatch(r"(?:[a-z]+/)?[a-z]+:v?\d+\.\d+[\w.-]*", WATCHING[name]["image"])
    for service in WOOD.values():
        assert service["image"] == NODES["node1"]["image"]
        assert only("ENTRYPOINT").argv() == ["wood"]
