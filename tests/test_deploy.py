"""The deployment example: what can be checked of it without running containers."""

import ipaddress
import json
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from coordinator.settings import SettingsError, describe_settings, load_settings
from coordinator.transports.socketio import server as socket_server
from tests.processes.server import run

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "config" / "deploy"
SECRET = "a secret for tests, longer than thirty-two bytes"
GIVEN = {"COORDINATOR_AUTH__SECRET": SECRET}
COORDINATORS = ("coordinator-1", "coordinator-2")
KNOWN = {setting.variable for setting in describe_settings()}

Document = dict[str, Any]


def text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def compose() -> Document:
    document: Document = yaml.safe_load(text("compose.yaml"))
    return document


def filled(value: str, given: dict[str, str]) -> str:
    """Put variables in as Compose does: `${NAME:-default}` and `${NAME:?what is missing}`.

    Raises:
        KeyError: A variable that is needed is not given.
    """

    def one(match: re.Match[str]) -> str:
        name, operator, operand = match.groups()
        if given.get(name):
            return given[name]
        if operator == "?":
            raise KeyError(f"{name}: {operand}")
        return str(operand)

    return re.sub(r"\$\{(\w+):([-?])([^}]*)\}", one, value)


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction of a Dockerfile with its arguments."""
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", dockerfile))
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, arguments = line.partition(" ")
        yield name, arguments.strip()


def only(name: str) -> str:
    """Return the arguments of the Dockerfile's last such instruction."""
    return [arguments for found, arguments in instructions(text("Dockerfile")) if found == name][-1]


# Compose.


@pytest.mark.parametrize("name", COORDINATORS)
def test_what_coordinators_are_given_are_settings_with_good_values(compose: Document, name: str) -> None:
    environment = {key: filled(value, GIVEN) for key, value in compose["services"][name]["environment"].items()}
    assert set(environment) <= KNOWN
    settings = load_settings(files=[], environ=environment, flags={})
    assert settings.auth.secret == SECRET
    assert settings.server.cors_origins == ()
    assert settings.mongo.url is not None
    hosts = re.findall(r"mongo-\d(?=:27017)", settings.mongo.url)
    assert set(hosts) <= set(compose["services"])
    assert settings.redis.url == "redis://redis:6379/0"
    assert "redis" in compose["services"]


def test_nothing_starts_without_a_secret(compose: Document) -> None:
    environment = compose["services"]["coordinator-1"]["environment"]
    with pytest.raises(KeyError, match="at least 32 bytes"):
        filled(environment["COORDINATOR_AUTH__SECRET"], {})
    short = {key: filled(value, {"COORDINATOR_AUTH__SECRET": "short"}) for key, value in environment.items()}
    with pytest.raises(SettingsError, match=r"auth\.secret"):
        load_settings(files=[], environ=short, flags={})
    assert SECRET not in text("compose.yaml")


def test_everything_that_is_named_is_there(compose: Document) -> None:
    services = compose["services"]
    for name, service in services.items():
        assert set(service["networks"]) <= set(compose["networks"]), name
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in services[other] or "build" in services[other], (name, other)
            else:
                assert (wanted["condition"], services[other]["restart"]) == (
                    "service_completed_successfully",
                    "on-failure",
                )
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (FOLDER / source).is_file() if source.startswith("./") else source in compose["volumes"]
        assert service["restart"] in ("unless-stopped", "on-failure")
    members = re.findall(r'host: "(mongo-\d):27017"', text("replica-set.js"))
    assert members == [name for name in services if name.startswith("mongo-")]


def test_the_image_is_built_from_the_source_tree(compose: Document) -> None:
    for name in COORDINATORS:
        build = compose["services"][name]["build"]
        context = (FOLDER / build["context"]).resolve()
        assert context == ROOT
        assert (context / build["dockerfile"]) == FOLDER / "Dockerfile"


def test_the_proxy_knows_the_coordinators_by_addresses_that_last(compose: Document) -> None:
    services = compose["services"]
    (subnet,) = compose["networks"]["front"]["ipam"]["config"]
    addresses = {name: services[name]["networks"]["front"]["ipv4_address"] for name in COORDINATORS}
    assert services["proxy"]["extra_hosts"] == [f"{name}:{address}" for name, address in addresses.items()]
    network = ipaddress.ip_network(subnet["subnet"])
    assert all(ipaddress.ip_address(address) in network for address in addresses.values())
    assert compose["networks"]["data"]["internal"] is True
    assert all("data" in services[name]["networks"] for name in (*COORDINATORS, "redis", "mongo-1"))
    assert "data" not in services["proxy"]["networks"]


def test_a_coordinator_is_given_more_time_than_it_takes_to_stop(compose: Document) -> None:
    for name in COORDINATORS:
        grace = compose["services"][name]["stop_grace_period"]
        assert int(grace.removesuffix("s")) > 10  # the most that it takes


# The image.


def test_what_goes_into_the_image_is_there_and_not_left_out() -> None:
    rules = [line for line in text("Dockerfile.dockerignore").splitlines() if line and not line.startswith("#")]
    copied = [
        source
        for name, arguments in instructions(text("Dockerfile"))
        if name == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    ]
    assert {"pyproject.toml", "coordinator"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        assert _is_sent(source, rules), source
    assert not _is_sent("config/local.toml", rules)
    assert not _is_sent(".env", rules)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {project["readme"], *project["license-files"]} <= set(copied)


def _is_sent(path: str, rules: list[str]) -> bool:
    sent = True
    for rule in rules:
        if fnmatch(path, rule.removeprefix("!")):
            sent = rule.startswith("!")
    return sent


def test_the_image_brings_what_production_needs_and_nothing_else() -> None:
    (install,) = [a for name, a in instructions(text("Dockerfile")) if name == "RUN" and "pip install" in a]
    assert install.endswith(" .")  # not `.[embedded]`, not `.[dev]`
    bases = [arguments.split()[0] for name, arguments in instructions(text("Dockerfile")) if name == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1, "what was built for one version of Python does not run on another"
    version = re.fullmatch(r"python:(3\.\d+)-slim-bookworm", bases[0])
    assert version is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={version[1]}"  # the version that all tests run with


async def test_the_image_runs_a_command_that_there_is() -> None:
    entry, command = json.loads(only("ENTRYPOINT")), json.loads(only("CMD"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert entry == ["coordinator"]
    assert entry[0] in project["scripts"]
    code, out, err = await run(*command, "--help")
    assert (code, err) == (0, "")
    assert "Run a coordinator" in out


def test_the_image_runs_as_nobody_in_particular_and_stops_when_it_is_told_to() -> None:
    assert only("STOPSIGNAL") == "SIGTERM"
    assert only("USER") == "10001:10001"
    environment = dict(re.findall(r"(COORDINATOR_\w+)=(\S+)", only("ENV")))
    assert set(environment) <= KNOWN
    settings = load_settings(files=[], environ=environment, flags={})
    assert (settings.server.host, str(settings.server.port)) == ("0.0.0.0", only("EXPOSE"))


# The proxy.


def test_the_proxy_is_more_patient_than_the_silence_between_pings() -> None:
    silence = socket_server._PING_INTERVAL_SECONDS + socket_server._PING_TIMEOUT_SECONDS
    sockets = text("nginx.conf").partition("location /socket.io/")[2].partition("}")[0]
    for name in ("proxy_read_timeout", "proxy_send_timeout"):
        (seconds,) = re.findall(rf"{name} (\d+)s;", sockets)
        assert int(seconds) > silence


def test_the_proxy_leads_to_the_coordinators(compose: Document) -> None:
    for upstream in ("sockets", "any"):
        block = text("nginx.conf").partition(f"upstream {upstream} {{")[2].partition("}")[0]
        assert re.findall(r"server ([\w-]+):8080 ", block) == list(COORDINATORS)
    (published,) = compose["services"]["proxy"]["ports"]
    assert f"listen {filled(published, {}).partition(':')[2]};" in text("nginx.conf")


def test_the_words_about_it_name_every_file() -> None:
    readme = text("README.md")
    files = {path.name for path in FOLDER.iterdir()} - {"README.md"}
    assert {name for name in files if f"| `{name}` |" not in readme} == set()
    assert set(re.findall(r"COORDINATOR_[A-Z]+__[A-Z_]+", readme)) <= KNOWN
