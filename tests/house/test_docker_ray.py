"""docker/kubernetes/overlays/ray: replicas of a RayService, and front ends that join its cluster.

KubeRay's own schema is not at hand: of a RayService, what is a pod is checked as one.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from tests.house.deployed import ROOT, cloud_options, entrypoint, read_yaml
from tests.house.manifests import (
    ROOM,
    VERSIONS,
    Document,
    container,
    flags,
    pod,
    rendered,
    the,
)

from isthmus_cli.verbs import chosen_verb
from isthmus_cloud.replicas.opening import ENVIRONMENT

OVERLAY = "overlays/ray"
NODE = "isthmus/ray-node"  # the label of whatever is a node of the cluster


def cluster() -> Document:
    config: Document = the("RayService", rendered(OVERLAY), "isthmus-tails")["spec"][
        "rayClusterConfig"
    ]
    return config


def templates() -> dict[str, Document]:
    """The pods of the head and of every group of workers."""
    groups = [cluster()["headGroupSpec"], *cluster()["workerGroupSpecs"]]
    return {each.get("groupName", "head"): each["template"] for each in groups}


def box(template: Document) -> Document:
    (only,) = template["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def environment(box: Document) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in box["env"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_pods_of_the_cluster_are_valid_by_kubernetes_schemas(version: str) -> None:
    for name, template in templates().items():
        made = {"apiVersion": "v1", "kind": "Pod", **template}
        made["metadata"] = {"name": name} | template["metadata"]
        kubernetes_validate.validate(made, version, strict=True)


def test_pods_of_the_cluster_have_no_rights_that_they_do_not_need() -> None:
    for name, template in templates().items():
        own = template["spec"]["securityContext"]
        assert (own["runAsNonRoot"], own["runAsUser"], own["fsGroup"]) == (True, 10001, 10001)
        assert box(template)["securityContext"] == container(rendered(OVERLAY))["securityContext"]
        if name != "head":  # whose autoscaler asks Kubernetes for workers
            assert template["spec"]["automountServiceAccountToken"] is False


def test_front_ends_join_the_head_of_this_cluster() -> None:
    options = cloud_options([*entrypoint("cloud"), *flags(rendered(OVERLAY))])
    service = the("RayService", rendered(OVERLAY), "isthmus-tails")["metadata"]["name"]
    assert (options.engine, options.ray_address) == ("ray", f"{service}-head-svc:6379")
    head = box(templates()["head"])
    assert 6379 in [each["containerPort"] for each in head["ports"]]
    assert cluster()["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_one_token_lets_in_who_belongs_there() -> None:
    """KubeRay gives it to its pods, under a key of its choice; no manifest holds it."""
    assert [each for each in rendered(OVERLAY) if each["kind"] == "Secret"] == []
    assert cluster()["authOptions"] == {"mode": "token", "secretName": "isthmus-ray"}
    token = environment(container(rendered(OVERLAY)))["RAY_AUTH_TOKEN"]
    assert token == {"secretKeyRef": {"name": "isthmus-ray", "key": "auth_token"}}
    assert ENVIRONMENT["RAY_AUTH_MODE"] == cluster()["authOptions"]["mode"]


def test_replicas_find_bundles_where_front_ends_have_them_and_cannot_change_them() -> None:
    store = cloud_options(flags(rendered(OVERLAY))).store
    (claim,) = [each for each in pod(rendered(OVERLAY))["volumes"] if each["name"] == "store"]
    for template in templates().values():
        assert claim in template["spec"]["volumes"]
        (mount,) = [each for each in box(template)["volumeMounts"] if each["name"] == "store"]
        assert (mount["mountPath"], mount["readOnly"]) == (str(store), True)


def test_all_run_one_image_and_the_release_of_ray_that_was_tested() -> None:
    images = {box(template)["image"] for template in templates().values()}
    assert images == {container(rendered(OVERLAY))["image"]}
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert cluster()["rayVersion"] == pinned[1]


def test_nodes_have_the_settings_that_front_ends_have() -> None:
    """Those that a node has to know; the others are of calls."""
    for template in templates().values():
        given = environment(box(template))
        shared = {name: value for name, value in given.items() if name in ENVIRONMENT}
        told = ("RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness")
        assert shared == {name: ENVIRONMENT[name] for name in told}


def test_workers_offer_the_cores_that_they_ask_for() -> None:
    for group in cluster()["workerGroupSpecs"]:
        asked = box(group["template"])["resources"]["requests"]["cpu"]
        assert group["rayStartParams"]["num-cpus"] == asked
        assert 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_probes_ask_the_node_itself() -> None:
    """KubeRay's own would ask for Serve's HTTP proxies, which the config switches off."""
    assert read_yaml(ROOM / OVERLAY / "serve.yaml")["proxy_location"] == "Disabled"
    for template in templates().values():
        for probe in ("livenessProbe", "readinessProbe"):
            assert box(template)[probe]["httpGet"]["port"] == 52365


def test_the_network_lets_nodes_talk_to_each_other_alone() -> None:
    policy = the("NetworkPolicy", rendered(OVERLAY), "isthmus-ray")["spec"]
    front_end = the("Deployment", rendered(OVERLAY))["spec"]["template"]["metadata"]["labels"]
    chosen = policy["podSelector"]["matchLabels"]
    assert chosen == {NODE: "true"}
    for labels in (front_end, *(each["metadata"]["labels"] for each in templates().values())):
        assert chosen.items() <= labels.items()
    assert policy["ingress"] == [{"from": [{"podSelector": {"matchLabels": chosen}}]}]
    anywhere = [rule["ports"] for rule in policy["egress"] if "to" not in rule]
    assert [{each["port"] for each in ports} for ports in anywhere] == [{53}]


@pytest.mark.filterwarnings(
    "ignore:Using extra keyword arguments on `Field` is deprecated:DeprecationWarning"  # Ray's own
)
def test_an_exported_config_is_what_kuberay_deploys(tiny_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOM, tmp_path / "kubernetes")
    out = tmp_path / "kubernetes" / OVERLAY / "serve.yaml"
    arguments = ["ray", tiny_bundle, "--bundle-path", "/store/tiny/1", "--out", out]
    assert chosen_verb(["export", *map(str, arguments)])() == 0
    service = the("RayService", rendered(tmp_path / "kubernetes" / OVERLAY), "isthmus-tails")
    deployed = yaml.safe_load(service["spec"]["serveConfigV2"])
    assert deployed == read_yaml(out)
    assert [each["args"]["path"] for each in deployed["applications"]] == ["/store/tiny/1"]
