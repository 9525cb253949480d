"""``deploy/kubernetes/`` and ``deploy/compose.scale.yaml``: valid, hardened, and in step with the program.

No cluster is needed. The schemas of the Kubernetes API come from kubernetes-validate.
"""

from __future__ import annotations

import base64
import copy
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bot.app.health import Health
from bot.app.stop_deadline import STOP_WITHIN_S
from bot.commands.main import command_parser
from bot.config import Settings, load_settings, parse_settings
from bot.settings import BotSettings
from storage.database.postgres_address import address
from storage.keys.master_key import NEXT_ENV, FromFile, source_of
from storage.settings import StorageSettings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS = [
    one for name in KUSTOMIZATION["resources"] for one in yaml.safe_load_all((FOLDER / name).read_text())
]
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.scale.yaml").read_text())
SETTINGS = parse_settings(tomllib.loads((FOLDER / "bot.toml").read_text()))
OLDEST = "1.32"
"""Version of Kubernetes whose schemas the manifests must fit."""
BOTS = {"gateway", "trainer"}


def of_kind(*kinds: str) -> dict[str, dict]:
    return {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] in kinds}


WORKLOADS = of_kind("StatefulSet", "Deployment")
PODS = {name: workload["spec"]["template"]["spec"] for name, workload in WORKLOADS.items()}
LABELS = {name: workload["spec"]["template"]["metadata"]["labels"] for name, workload in WORKLOADS.items()}
CONTAINERS = {name: pod["containers"][0] for name, pod in PODS.items()}


def values(found: object, key: str) -> Iterator[object]:
    """Yield every value of a key in nested data."""
    if isinstance(found, dict):
        for name, value in found.items():
            if name == key:
                yield value
            yield from values(value, key)
    if isinstance(found, list):
        for one in found:
            yield from values(one, key)


@pytest.mark.parametrize("manifest", OBJECTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_every_manifest_fits_the_schema_of_the_api(manifest):
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )

    kubernetes_validate.validate(manifest, OLDEST, strict=True)


def test_control_a_misspelt_key_does_not_fit():
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )
    manifest = copy.deepcopy(WORKLOADS["gateway"])
    manifest["spec"]["template"]["spec"]["terminationGracePeriod"] = 30

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, OLDEST, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_every_manifest_into_the_namespace():
    done = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=True)
    built = list(yaml.safe_load_all(done.stdout))

    assert len(built) == len(OBJECTS) + 1  # the configuration
    assert {one["metadata"]["namespace"] for one in built if one["kind"] != "Namespace"} == {"simpatico"}
    configured = next(one for one in built if one["kind"] == "ConfigMap")
    assert configured["data"]["config.toml"] == (FOLDER / "bot.toml").read_text()


def test_both_ways_have_the_same_configuration():
    scale = (ROOT / "deploy" / "config.scale.toml").read_text()

    assert parse_settings(tomllib.loads(scale)) == SETTINGS


def test_every_manifest_of_the_folder_is_applied():
    assert set(KUSTOMIZATION["resources"]) == {path.name for path in FOLDER.glob("*.yaml")} - {
        "kustomization.yaml"
    }


@pytest.mark.parametrize("name", sorted(BOTS))
def test_the_probes_ask_pages_that_the_process_serves(name):
    container, served = CONTAINERS[name], {route.path for route in Health({}).routes()}
    probes = {key: container[key] for key in ("startupProbe", "readinessProbe", "livenessProbe")}

    paths = {key: probe["httpGet"]["path"] for key, probe in probes.items()}
    # What restarts a pod asks /healthz, because /readyz waits for Discord.
    assert paths == {"startupProbe": "/healthz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    assert set(paths.values()) <= served
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {container["ports"][0]["name"]}
    assert container["ports"][0]["containerPort"] == SETTINGS.operator.metrics_port


@pytest.mark.parametrize("name", sorted(BOTS))
def test_a_stop_has_more_time_than_the_process_takes_at_most(name):
    assert PODS[name]["terminationGracePeriodSeconds"] >= 2 * STOP_WITHIN_S
    services = [one for one in COMPOSE["services"].values() if one["image"] == "simpatico"]
    assert {one["stop_grace_period"] for one in services} == {"30s"}


def test_a_restart_for_a_red_part_waits_for_minutes_because_it_costs_a_session_with_discord():
    for name in BOTS:
        live, start = CONTAINERS[name]["livenessProbe"], CONTAINERS[name]["startupProbe"]
        assert live["periodSeconds"] * live["failureThreshold"] >= 300
        assert start["periodSeconds"] * start["failureThreshold"] >= 1800


def test_the_processes_start_commands_that_exist():
    commands = {name: CONTAINERS[name]["args"] for name in BOTS}

    assert commands == {"gateway": ["run"], "trainer": ["train"]}
    assert COMPOSE["services"]["trainer"]["command"] == ["train"]
    assert [command_parser().parse_args(words).command for words in commands.values()]


def shards_of_pods() -> tuple[str, list[str]]:
    """Return the number of shards, and what each pod is told to serve."""
    env = {one["name"]: one for one in CONTAINERS["gateway"]["env"]}
    field = env["ORDINAL"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert field == "metadata.labels['apps.kubernetes.io/pod-index']"
    of_pod = env["SIMPATICO_SHARD_IDS"]["value"]
    replicas = WORKLOADS["gateway"]["spec"]["replicas"]
    return env["SIMPATICO_SHARD_COUNT"]["value"], [
        of_pod.replace("$(ORDINAL)", str(i)) for i in range(replicas)
    ]


def shards_of_compose() -> tuple[str, list[str]]:
    """Return the number of shards, and what each service is told to serve."""
    gateways = [
        one["environment"] for name, one in COMPOSE["services"].items() if name.startswith("gateway-")
    ]
    (count,) = {one["SIMPATICO_SHARD_COUNT"] for one in gateways}
    return count, [one["SIMPATICO_SHARD_IDS"] for one in gateways]


@pytest.mark.parametrize("told", [shards_of_pods, shards_of_compose], ids=["kubernetes", "compose"])
def test_every_process_serves_another_part_and_all_together_every_shard(told):
    count, parts = told()

    assert parts == [f"{number}/{len(parts)}" for number in range(len(parts))]
    assert int(count) % len(parts) == 0


@pytest.mark.parametrize("told", [shards_of_pods, shards_of_compose], ids=["kubernetes", "compose"])
@pytest.mark.skipif(not hasattr(BotSettings, "shard_count"), reason="this version has no shards")
def test_the_program_reads_the_parts_as_every_shard_once(told, monkeypatch):
    count, parts = told()
    served: list[int] = []
    for part in parts:
        monkeypatch.setenv("SIMPATICO_SHARD_COUNT", count)
        monkeypatch.setenv("SIMPATICO_SHARD_IDS", part)
        served += load_settings(None).bot.shard_ids

    assert sorted(served) == list(range(int(count)))


@pytest.mark.parametrize("name", sorted(PODS))
def test_no_pod_has_more_rights_than_it_needs(name):
    pod, container = PODS[name], CONTAINERS[name]
    security = container["securityContext"]

    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
    assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert (
        set(container["resources"]["requests"]) == {"cpu", "memory"}
        and container["resources"]["limits"]["memory"]
    )


def test_the_bot_runs_as_the_user_of_its_image_and_writes_where_its_configuration_says():
    (user,) = re.findall(r"useradd --system --uid (\d+)", (ROOT / "deploy" / "Dockerfile").read_text())
    for name in BOTS:
        mounts = {one["mountPath"]: one for one in CONTAINERS[name]["volumeMounts"]}
        assert PODS[name]["securityContext"]["runAsUser"] == int(user)
        assert {str(SETTINGS.storage.data_dir), str(SETTINGS.storage.key_dir.parent), "/tmp"} < set(mounts)
        assert SETTINGS.generator.model_dir.is_relative_to(SETTINGS.storage.data_dir)
        assert mounts["/etc/simpatico"]["readOnly"]


def test_secrets_come_from_the_secret_under_the_names_that_the_settings_have():
    keys = {key["key"] for one in CONTAINERS.values() for key in values(one, "secretKeyRef")}
    names = {one["name"] for name in BOTS for one in CONTAINERS[name]["env"] if "secretKeyRef" in str(one)}
    default, command = Settings(), (ROOT / "docs" / "operator" / "scale.md").read_text()

    needed = {default.bot.token_env, default.storage.password_env, default.storage.master_key_env}
    optional = {default.storage.key_password_env, default.storage.master_key_env + NEXT_ENV}
    assert names == needed | optional
    for one in (one for name in BOTS for one in CONTAINERS[name]["env"] if one["name"] in names):
        is_optional = one["valueFrom"]["secretKeyRef"].get("optional", False)
        assert is_optional == (one["name"] in optional), one["name"]
    assert [key for key in sorted(keys) if f"--from-literal={key}=" not in command] == []
    assert "DISCORD_TOKEN" not in str(CONTAINERS["trainer"]) + str(COMPOSE["services"]["trainer"])


def test_what_the_manifests_refer_to_exists():
    claims = set(of_kind("PersistentVolumeClaim"))
    assert {str(name) for name in values(OBJECTS, "claimName")} <= claims
    for pod in PODS.values():
        volumes = {one["name"] for one in pod.get("volumes", ())} | {"database"}
        assert {one["name"] for one in pod["containers"][0]["volumeMounts"]} <= volumes
    for one in of_kind("Service", "PodDisruptionBudget").values():
        wanted = one["spec"]["selector"].get("matchLabels", one["spec"]["selector"])
        assert [name for name, labels in LABELS.items() if wanted.items() <= labels.items()] == [
            one["metadata"]["name"]
        ]


@pytest.mark.parametrize("path", [FOLDER / "bot.toml", ROOT / "deploy" / "config.scale.toml"])
def test_the_database_and_the_model_server_of_the_configuration_are_there(path):
    settings = parse_settings(tomllib.loads(path.read_text()))
    addresses = re.findall(r"(\w+):(\d+)/", f"{settings.storage.url} {settings.generator.base_url}")
    served = {
        (name, str(port["port"])) for name, one in of_kind("Service").items() for port in one["spec"]["ports"]
    }

    assert set(addresses) == {("database", "5432"), ("model", "8000")} <= served
    assert {name for name, _ in addresses} <= set(COMPOSE["services"])
    for command in (CONTAINERS["model"]["args"], COMPOSE["services"]["model"]["command"]):
        assert command[command.index("--served-model-name") + 1] == settings.generator.model
        assert int(command[command.index("--max-model-len") + 1]) >= settings.generator.context_tokens


def test_only_the_bot_reaches_the_database_and_the_model_server():
    policies = of_kind("NetworkPolicy")
    shut = policies["default"]["spec"]

    assert shut["podSelector"] == {} and set(shut["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in shut
    for name in ("database", "model"):
        (rule,) = policies[name]["spec"]["ingress"]
        ((source,),) = [rule["from"]]
        wanted = source["podSelector"]["matchLabels"]
        assert {pod for pod, labels in LABELS.items() if wanted.items() <= labels.items()} == BOTS


def test_compose_hands_the_trainer_passwords_and_keys_and_nothing_else():
    trainer, storage = COMPOSE["services"]["trainer"], Settings().storage

    wanted = {storage.key_password_env, storage.master_key_env, storage.master_key_env + NEXT_ENV}
    assert set(trainer["environment"]) == {storage.password_env} | wanted
    assert {name: trainer["environment"][name] for name in wanted} == {
        name: f"${{{name}:-}}" for name in wanted
    }
    assert "env_file" not in trainer


def test_a_variable_that_compose_leaves_empty_counts_as_none(tmp_path, monkeypatch):
    storage = StorageSettings(key_dir=tmp_path)
    for name in (storage.key_password_env, storage.master_key_env, storage.master_key_env + NEXT_ENV):
        monkeypatch.setenv(name, "")

    assert isinstance(source_of(storage), FromFile)
    monkeypatch.setenv(storage.master_key_env, base64.b64encode(bytes(32)).decode())
    assert source_of(storage).keys() == (bytes(32), None)
    assert address("postgresql://a@keys/b", storage.key_password_env)[0].password is None
