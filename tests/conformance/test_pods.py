"""Pods on one node (``deploy/kubernetes``) and on several (``-spread``): what the cluster does to them.

Kubernetes opens the root of a volume to the group of the pod (``fsGroup``), drops packets without a rule, and
throws an ``emptyDir`` away with its pod. Folders of these modes, and the real store, stand for the volumes.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from bot.config import Settings, parse_settings
from storage.errors import KeyUnreadable
from storage.keys import key_files, master_key
from storage.maintenance.audit_trail import Act, AuditTrail
from storage.maintenance.checkup import not_ours, open_to_others
from storage.maintenance.rotation import rotate
from storage.settings import StorageSettings
from storage.store import Store
from tests.conformance.test_kubernetes import BOTS, COMPOSE, FOLDER, OLDEST, ROOT

SPREAD = ROOT / "deploy" / "kubernetes-spread"
MODES = [0o2770, 0o2775, 0o2777, 0o777, 0o755, 0o700]
"""Modes of the root of a volume: the first three with fsGroup, then a folder of a host, and Docker."""


def built(folder: Path) -> list[dict]:
    """Return what is applied to the cluster."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(params=[FOLDER, SPREAD], ids=["one-node", "spread"], scope="module")
def cluster(request) -> list[dict]:
    """The objects of a layout."""
    return built(request.param)


def configured(cluster: list[dict]) -> Settings:
    (found,) = [one for one in cluster if one["kind"] == "ConfigMap"]
    return parse_settings(tomllib.loads(found["data"]["config.toml"]))


def workloads(cluster: list[dict]) -> dict[str, dict]:
    found = [one for one in cluster if one["kind"] in ("StatefulSet", "Deployment")]
    return {one["metadata"]["name"]: one["spec"] for one in found}


def mounts(workload: dict) -> dict[str, str]:
    """Mount point -> name of its volume."""
    (container,) = workload["template"]["spec"]["containers"]
    return {one["mountPath"]: one["name"] for one in container["volumeMounts"]}


def volume(path: Path, points: dict[str, str]) -> str:
    """Return the mount point that holds a path."""
    return max((point for point in points if path.is_relative_to(point)), key=len)


@pytest.fixture(params=MODES, ids=oct)
def volumes(request, tmp_path):
    """Volumes at /data and /keys as a cluster mounts them; returns a folder of the configuration in them."""
    old = os.umask(0o022)
    for name in ("data", "keys"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(request.param)
    yield lambda folder: tmp_path / folder.relative_to("/")
    os.umask(old)


def storage_in(volumes, settings: Settings) -> StorageSettings:
    return StorageSettings(
        data_dir=volumes(settings.storage.data_dir), key_dir=volumes(settings.storage.key_dir)
    )


@pytest.mark.parametrize(
    "path", [FOLDER / "bot.toml", SPREAD / "bot.toml", ROOT / "deploy/config.scale.toml"]
)
async def test_the_bot_starts_in_volumes_that_the_cluster_opened_and_asks_privacy_below_them(
    path, volumes, monkeypatch
):
    asked: set[Path] = set()
    require = master_key.require_private

    def require_private(one: Path) -> None:
        asked.add(one)
        require(one)

    for module in (key_files, master_key):
        monkeypatch.setattr(module, "require_private", require_private)
    storage = storage_in(volumes, parse_settings(tomllib.loads(path.read_text())))
    async with await Store.open(storage):  # twice: a volume of an earlier pod has the folder already
        AuditTrail(storage).note(Act.START, version="1", configuration="2")
    async with await Store.open(storage):
        pass
    await rotate(storage)

    roots = {storage.data_dir, storage.key_dir.parent}
    assert storage.key_dir in asked and asked & roots == set()
    assert (storage.key_dir.stat().st_mode & 0o777, open_to_others(storage)) == (0o700, [])


@pytest.mark.parametrize("volumes", [mode for mode in MODES if mode & 0o077], indirect=True, ids=oct)
async def test_control_keys_in_the_root_of_such_a_volume_are_refused(volumes):
    storage = StorageSettings(data_dir=volumes(Path("/data")), key_dir=volumes(Path("/keys")))

    with pytest.raises(KeyUnreadable, match="to be private"):
        await Store.open(storage)


def test_the_root_of_a_volume_may_belong_to_another_user_if_it_can_be_written(tmp_path, monkeypatch):
    storage = StorageSettings(data_dir=tmp_path, key_dir=tmp_path / "private")
    (tmp_path / "audit.jsonl").touch()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    assert not_ours(storage) == [
        tmp_path / "audit.jsonl"
    ]  # the folder can be written, the file cannot be owned
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert set(not_ours(storage)) == {tmp_path, tmp_path / "audit.jsonl"}


def test_no_private_folder_is_a_mount_point(cluster):
    settings = configured(cluster)
    for name in BOTS:
        spec = workloads(cluster)[name]
        assert "fsGroup" in spec["template"]["spec"]["securityContext"]
        assert str(settings.storage.key_dir) not in mounts(spec)
    for service in COMPOSE["services"].values():
        assert str(settings.storage.key_dir) not in [
            mount.split(":")[1] for mount in service.get("volumes", ())
        ]


def test_keys_models_and_the_audit_trail_survive_their_pod(cluster):
    settings = configured(cluster).storage
    claims = {one["metadata"]["name"] for one in cluster if one["kind"] == "PersistentVolumeClaim"}
    for name in BOTS:
        spec, points = workloads(cluster)[name], mounts(workloads(cluster)[name])
        lasting = {one["metadata"]["name"] for one in spec.get("volumeClaimTemplates", ())}
        for one in spec["template"]["spec"]["volumes"]:
            if "persistentVolumeClaim" in one:
                assert one["persistentVolumeClaim"]["claimName"] in claims
                lasting.add(one["name"])
        held = {points[volume(folder, points)] for folder in (settings.data_dir, settings.key_dir)}
        assert held == {"data", "keys"} <= lasting


def test_pods_that_share_a_volume_stay_on_its_node_and_others_do_not(cluster):
    specs = workloads(cluster)
    shared = {
        one["persistentVolumeClaim"]["claimName"]
        for name in ("gateway",)
        for one in specs[name]["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in one
    }
    for name in BOTS:
        affinity = specs[name]["template"]["spec"].get("affinity", {})
        assert ("podAffinity" in affinity) == bool(shared), name
    assert bool(shared) == (not configured(cluster).storage.key_url)


def allowed(cluster: list[dict], name: str) -> list[tuple[object, int]]:
    """Return (destination, port) that the policies let a pod reach: a network, or the labels of a pod."""
    labels = workloads(cluster)[name]["template"]["metadata"]["labels"]
    found: list[tuple[object, int]] = []
    for policy in (one["spec"] for one in cluster if one["kind"] == "NetworkPolicy"):
        if policy["podSelector"].get("matchLabels", {}).items() <= labels.items():
            for rule in policy.get("egress", ()):
                for to in rule["to"]:
                    where = to.get("podSelector", {}).get("matchLabels") or to.get("ipBlock", {}).get("cidr")
                    found += [(where, port["port"]) for port in rule["ports"]]
    return found


@pytest.mark.parametrize("name", sorted(BOTS))
def test_every_server_of_the_configuration_can_be_reached(name, cluster):
    settings, specs = configured(cluster), workloads(cluster)
    reach = allowed(cluster, name)
    for address in filter(
        None, (settings.storage.url, settings.storage.key_url, settings.generator.base_url)
    ):
        where, own = urlsplit(address), specs.get(urlsplit(address).hostname)
        if own is not None:
            labels = own["template"]["metadata"]["labels"].items()
            assert any(
                isinstance(to, dict) and to.items() <= labels and port == where.port for to, port in reach
            )
        else:  # a server outside: an address of its own, because policies know no names
            hosts = [to for to, port in reach if isinstance(to, str) and port == where.port]
            assert [one for one in hosts if ipaddress.ip_network(one).num_addresses == 1], address
    assert {to for to, port in reach if port == 443} == {"0.0.0.0/0", "::/0"}  # Discord, the hub


def test_the_rule_for_servers_outside_is_a_comment_that_fits_the_schema():
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )
    text = (FOLDER / "network.yaml").read_text()
    opened = re.sub(r"^    # (- to:|  .*)$", r"    \1", text, flags=re.M)
    policies = {one["metadata"]["name"]: one for one in yaml.safe_load_all(opened)}

    kubernetes_validate.validate(policies["bot"], OLDEST, strict=True)
    assert policies["bot"]["spec"]["egress"][-1]["to"] == [{"ipBlock": {"cidr": "192.0.2.10/32"}}]


def test_every_object_fits_the_schema_of_the_api(cluster):
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )
    for one in cluster:
        kubernetes_validate.validate(one, OLDEST, strict=True)


def test_both_layouts_differ_in_the_place_of_the_keys_alone():
    one, other = (parse_settings(tomllib.loads((path / "bot.toml").read_text())) for path in (FOLDER, SPREAD))

    assert other.storage.key_url and not one.storage.key_url
    assert {
        key for key in StorageSettings.__slots__ if getattr(one.storage, key) != getattr(other.storage, key)
    } == {"key_url"}
    assert (one.generator, one.operator) == (other.generator, other.operator)


def test_names_and_numbers_of_a_set_fit_together(cluster):
    specs = workloads(cluster)
    services = {one["metadata"]["name"]: one["spec"] for one in cluster if one["kind"] == "Service"}
    budgets = {
        one["metadata"]["name"]: one["spec"] for one in cluster if one["kind"] == "PodDisruptionBudget"
    }
    for spec in specs.values():
        assert spec.get("serviceName", "gateway") in services
        assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
        (container,) = spec["template"]["spec"]["containers"]
        ports = {one["name"] for one in container["ports"]}
        probes = [one for key, one in container.items() if key.endswith("Probe")]
        assert {probe["httpGet"]["port"] for probe in probes if "httpGet" in probe} <= ports
        limit, asked = (container["resources"][key]["memory"] for key in ("limits", "requests"))
        assert mebibytes(asked) <= mebibytes(limit)
        in_memory = [one["emptyDir"] for one in spec["template"]["spec"]["volumes"] if "emptyDir" in one]
        used = [mebibytes(one["sizeLimit"]) for one in in_memory if "sizeLimit" in one]
        assert sum(used) < mebibytes(limit)  # they count as memory of the pod
    for name, spec in services.items():
        assert {one["targetPort"] for one in spec["ports"]} <= {
            one["name"] for one in specs[name]["template"]["spec"]["containers"][0]["ports"]
        }
    assert {name: spec["maxUnavailable"] < specs[name]["replicas"] for name, spec in budgets.items()} == {
        "gateway": True
    }
    image = specs["gateway"]["template"]["spec"]["containers"][0]["image"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert image.endswith(f":{version}")


def mebibytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]


def test_the_configuration_lies_where_the_image_looks_for_it(cluster):
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", (ROOT / "deploy" / "Dockerfile").read_text(), flags=re.M)
    path = Path(yaml.safe_load(entry)[-1])
    for name in BOTS:
        spec = workloads(cluster)[name]
        source = next(
            one["configMap"]["name"] for one in spec["template"]["spec"]["volumes"] if "configMap" in one
        )
        (found,) = [one for one in cluster if one["kind"] == "ConfigMap"]
        assert found["metadata"]["name"] == source and path.name in found["data"]
        assert mounts(spec)[str(path.parent)] == "config"
    for name, service in COMPOSE["services"].items():
        if service["image"] == "simpatico":
            assert f"./deploy/config.scale.toml:{path}:ro" in service["volumes"], name


def test_a_restart_asks_whether_the_process_lives_and_an_update_whether_it_works():
    """Docker restarts nothing by its check; `up --wait` waits for it before the next process is updated."""
    healthy = {
        name: re.findall(r"9464(/\w+)", str(service.get("healthcheck", "")))
        for name, service in COMPOSE["services"].items()
        if service["image"] == "simpatico"
    }
    of_image = re.findall(r"9464(/\w+)", (ROOT / "deploy" / "Dockerfile").read_text())

    assert of_image == ["/healthz"]
    assert healthy == {"trainer": []} | {f"gateway-{number}": ["/readyz"] for number in range(4)}
    assert "--wait" in (ROOT / "docs" / "operator" / "scale.md").read_text()


def test_the_manual_names_what_an_operator_must_write_for_several_nodes():
    manual = (ROOT / "docs" / "operator" / "scale.md").read_text()

    for needed in (
        "key-password",
        "master-key-next",
        "kubernetes-spread",
        "keys.yaml",
        "/keys/private",
        "10001",
    ):
        assert needed in manual, needed
