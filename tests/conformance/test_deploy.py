"""``deploy/`` fits the program: the files, settings, variables, ports and commands it names exist.

The tests do not need Docker and build no image.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from bot.commands.main import EXIT_CONFIG, EXIT_DISCORD, EXIT_MODEL, EXIT_STORAGE, command_parser
from bot.config import Settings, parse_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE = {path.name: yaml.safe_load(path.read_text()) for path in sorted(DEPLOY.glob("compose*.yaml"))}
CONFIGS = sorted(DEPLOY.glob("config.*.toml"))
KUBERNETES = [
    container
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
    if manifest["kind"] in ("StatefulSet", "Deployment")
    for container in manifest["spec"]["template"]["spec"]["containers"]
    if container["image"] != "simpatico"
]


def steps(name: str) -> list[str]:
    return re.findall(rf"^\s*{name}\s+(.*)$", DOCKERFILE, flags=re.MULTILINE)


def let_through(path: str) -> bool:
    lines = (ROOT / ".dockerignore").read_text().split()
    return any(path == line[1:] or fnmatch(path, f"{line[1:]}/*") for line in lines if line[0] == "!")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_configuration_is_valid(path):
    settings = parse_settings(tomllib.loads(path.read_text()), source=path.name)

    assert settings.storage.data_dir != settings.storage.key_dir
    assert settings.operator.metrics_port == 9464


def test_everything_that_is_copied_into_the_image_is_there_and_let_through():
    copied = [source for step in steps("COPY") if "--from" not in step for source in step.split()[:-1]]
    optional = {source for source in copied if "[" in source}  # a pattern may match nothing
    copied = [source for source in copied if source not in optional]

    assert optional == {"build/simpatico.cdx.jso[n]"}
    assert let_through("build/simpatico.cdx.json")
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert [source for source in copied if not let_through(source)] == []
    assert set(copied) >= {"bot", "personalization", "storage", "pyproject.toml", "constraints.txt"}


def test_the_image_installs_everything_but_torch_by_hash():
    installs = [step for step in steps("RUN") if "pip install" in step]
    by_hash = [step for step in installs if "--require-hashes" in step]

    assert [step.split()[-1] for step in by_hash] == ["locks/run.txt", "locks/models.txt"]
    assert [step.split()[-1] for step in installs if step not in by_hash] == ["torch", "."]


def test_images_are_pinned_by_digest():
    used = [step.split()[0] for step in steps("FROM")]
    used += [
        service["image"]
        for file in COMPOSE.values()
        for service in file["services"].values()
        if not service.get("image", "simpatico").startswith("simpatico")
    ]

    used += [pod["image"] for pod in KUBERNETES]

    assert used
    assert [image for image in used if not re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", image)] == []
    assert len({image.split("@")[0].rpartition(":")[0] for image in used}) == len(
        set(used)
    )  # one version of each


def test_the_image_does_not_run_as_root():
    lines = [line.split()[0] for line in DOCKERFILE.splitlines() if line and line[0].isupper()]
    (user,) = steps("USER")

    assert any(f"useradd --system --uid 10001 --home-dir /data {user}" in step for step in steps("RUN"))
    assert lines.index("USER") < lines.index("ENTRYPOINT")


def test_the_image_starts_a_command_that_exists():
    (entry,), (command,) = (steps(name) for name in ("ENTRYPOINT", "CMD"))
    name, *arguments = yaml.safe_load(entry) + yaml.safe_load(command)

    assert name == "simpatico"
    assert command_parser().parse_args(arguments).command == "run"


def test_the_image_watches_the_port_of_its_configuration():
    settings = parse_settings(tomllib.loads((DEPLOY / "config.docker.toml").read_text()))
    watched = re.findall(r"127\.0\.0\.1:(\d+)/", DOCKERFILE)

    assert watched == [str(settings.operator.metrics_port)]


def test_compose_offers_the_port_to_this_machine_alone():
    ports = {
        name: [port for service in file["services"].values() for port in service.get("ports", [])]
        for name, file in COMPOSE.items()
    }

    assert {name: found for name, found in ports.items() if found} == {
        "compose.yaml": ["127.0.0.1:9464:9464"],
        "compose.scale.yaml": ["127.0.0.1:9090:9090", "127.0.0.1:3000:3000"],
    }


def test_compose_keeps_data_and_keys_in_volumes_of_their_own():
    settings = parse_settings(tomllib.loads((DEPLOY / "config.docker.toml").read_text()))
    mounted = dict(
        mount.split(":")[:2][::-1] for mount in COMPOSE["compose.yaml"]["services"]["bot"]["volumes"]
    )

    assert mounted == {str(settings.storage.data_dir): "data", str(settings.storage.key_dir): "keys"}
    assert set(COMPOSE["compose.yaml"]["volumes"]) == set(mounted.values())


def test_compose_files_name_volumes_services_and_files_that_exist():
    services = {name for file in COMPOSE.values() for name in file["services"]}
    volumes = {name for file in COMPOSE.values() for name in file.get("volumes", {})}
    for file in COMPOSE.values():
        for service in file["services"].values():
            assert set(service.get("depends_on", {})) <= services
            for mount in service.get("volumes", []):
                source = mount.split(":")[0]
                assert (ROOT / source).is_file() if source.startswith(".") else source in volumes


def test_every_service_of_the_large_set_up_is_hardened():
    for name, service in COMPOSE["compose.scale.yaml"]["services"].items():
        assert service["restart"] == "unless-stopped", name
        if name == "database":
            continue  # its image changes its user itself
        assert service["cap_drop"] == ["ALL"] and service["ulimits"] == {"core": 0}, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("read_only") or name == "model", name


def test_compose_hands_over_variables_that_the_settings_name():
    default = Settings()
    password = default.storage.password_env
    database = COMPOSE["compose.postgres.yaml"]["services"]["database"]["environment"]
    url = parse_settings(tomllib.loads((DEPLOY / "config.postgres.toml").read_text())).storage.url

    assert database["POSTGRES_PASSWORD"].startswith(f"${{{password}:?")
    assert url == f"postgresql://{database['POSTGRES_USER']}@database:5432/{database['POSTGRES_DB']}"
    assert f"{default.bot.token_env}=" in (DEPLOY / "compose.yaml").read_text()


def test_the_unit_starts_a_command_that_exists_and_stays_down_where_restarting_cannot_help():
    unit = ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read_string((DEPLOY / "simpatico.service").read_text())
    service = unit["Service"]
    _program, *arguments = shlex.split(service["ExecStart"])
    never = {int(code) for code in service["RestartPreventExitStatus"].split()}

    assert command_parser().parse_args(arguments).command == "run"
    assert (never, EXIT_DISCORD in never) == ({EXIT_CONFIG, EXIT_STORAGE, EXIT_MODEL}, False)


def test_the_unit_may_write_where_its_configuration_says():
    settings = parse_settings(tomllib.loads((DEPLOY / "config.systemd.toml").read_text()))
    folders = {settings.storage.data_dir, settings.storage.key_dir, settings.generator.model_dir}

    assert "StateDirectory=simpatico\n" in (DEPLOY / "simpatico.service").read_text()
    assert {folder.parent for folder in folders} == {Path("/var/lib/simpatico")}


def test_compose_runs_the_bot_under_an_init():
    assert COMPOSE["compose.yaml"]["services"]["bot"]["init"] is True


def test_no_core_dump_with_texts_and_keys_is_written():
    assert COMPOSE["compose.yaml"]["services"]["bot"]["ulimits"] == {"core": 0}
    assert "LimitCORE=0\n" in (DEPLOY / "simpatico.service").read_text()
