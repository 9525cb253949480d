"""``deploy/monitoring/``: rules name metrics that exist, each alert has a case, promtool accepts them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import settings as settings  # a fixture
from tests.integration.conftest import world as world  # a fixture
from tests.integration.test_metrics import there as there  # a fixture

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
GROUPS = {
    group["name"]: group["rules"]
    for group in yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"]
}
RULES = [rule for rules in GROUPS.values() for rule in rules]
CASES = yaml.safe_load((MONITORING / "rules.test.yaml").read_text())["tests"]
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.scale.yaml").read_text())["services"]
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")


def unknown(rules: list[dict], exported: set[str]) -> set[str]:
    """Return the metrics that rules name and nothing exports."""
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    named = {name for rule in rules for name in re.findall(r"simpatico[\w:]+", rule["expr"])}
    return named - exported - recorded


@pytest.mark.parametrize("group", GROUPS)
async def test_every_metric_of_the_rules_exists(group, there):
    if group == "shards" and importlib.util.find_spec("bot.app.sharded_client") is None:
        pytest.skip("this version has no shards, so it exports no metrics of them")

    assert unknown(GROUPS[group], there) == set()


def test_control_a_metric_that_does_not_exist_is_found():
    assert unknown([{"expr": "sum(simpatico_no_such_total)"}], {"simpatico_trains"}) == {
        "simpatico_no_such_total"
    }


def test_every_alert_says_what_to_do_and_whether_it_is_urgent():
    for rule in RULES:
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
            assert rule["annotations"]["summary"].endswith(".") and rule["annotations"]["action"], rule[
                "alert"
            ]


def test_every_rule_has_a_case_in_which_it_fires():
    fired = {
        one["alertname"] for case in CASES for one in case.get("alert_rule_test", ()) if one["exp_alerts"]
    }
    computed = " ".join(one["expr"] for case in CASES for one in case.get("promql_expr_test", ()))

    assert fired == {rule["alert"] for rule in RULES if "alert" in rule}
    assert [rule["record"] for rule in RULES if rule.get("record", "") not in computed] == []


@promtool
def test_promtool_accepts_the_rules():
    done = subprocess.run(
        [PROMTOOL, "check", "rules", MONITORING / "rules.yaml"], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_the_rules_fire_when_they_should(tmp_path):
    done = subprocess.run(
        [PROMTOOL, "test", "rules", MONITORING / "rules.test.yaml"],
        capture_output=True,
        text=True,
        cwd=MONITORING,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_control_a_rule_with_another_threshold_fails_its_case(tmp_path):
    rules = (MONITORING / "rules.yaml").read_text()
    (tmp_path / "rules.yaml").write_text(rules.replace("simpatico:answer_seconds:p95 > 30", "vector(0) > 30"))
    shutil.copy(MONITORING / "rules.test.yaml", tmp_path)

    done = subprocess.run(
        [PROMTOOL, "test", "rules", "rules.test.yaml"], capture_output=True, text=True, cwd=tmp_path
    )

    assert done.returncode != 0 and "SimpaticoSlowReplies" in done.stdout + done.stderr


def test_prometheus_reads_every_process_and_the_rules():
    settings = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    (job,) = settings["scrape_configs"]
    (static,) = job["static_configs"]
    bots = {name for name, service in COMPOSE.items() if service["image"] == "simpatico"}

    assert {target.split(":")[0] for target in static["targets"]} == bots
    assert {target.split(":")[1] for target in static["targets"]} == {"9464"}
    assert [rule for rule in RULES if f'job="{job["job_name"]}"' in rule["expr"]]
    assert settings["rule_files"][0] in [mount.split(":")[1] for mount in COMPOSE["prometheus"]["volumes"]]


def test_grafana_finds_prometheus_and_the_dashboard():
    (source,) = yaml.safe_load((MONITORING / "grafana" / "datasources.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((MONITORING / "grafana" / "dashboards.yaml").read_text())["providers"]
    mounted = dict(mount.split(":")[:2] for mount in COMPOSE["grafana"]["volumes"])

    assert source["url"] == "http://prometheus:9090"
    assert Path(mounted["./docs/operator/grafana-dashboard.json"]).parent == Path(provider["options"]["path"])
