"""docker/kubernetes: valid by Kubernetes' own schemas, closed, and its flags start the service.

Where there is no `kubectl` (its `kustomize` needs no cluster), files are checked one by one, and
what kustomize makes of them is not.
"""

import re
import signal
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from tests.commands import Command
from tests.house.deployed import (
    ROOT,
    cloud_options,
    entrypoint,
    make_secrets,
    on_this_machine,
    read_yaml,
    ready,
)
from tests.house.manifests import (
    FOREIGN,
    ROOM,
    THREADS,
    VERSIONS,
    Document,
    beside_the_base,
    container,
    flags,
    pod,
    rendered,
    the,
)

OVERLAYS = ("base", "overlays/gpu", "overlays/dev", "overlays/ray")
COMPONENTS = ("load-balancer", "pod-monitor", "scale-hpa", "scale-keda")


def with_component(name: str, folder: Path) -> tuple[Document, ...]:
    own = {"resources": ["../base"], "components": [f"../components/{name}"]}
    return beside_the_base(yaml.safe_dump(own), folder)


def written() -> list[Path]:
    """Manifests that are whole by themselves: no patches, no kustomizations."""
    files = [*(ROOM / "base").glob("*.yaml"), *(ROOM / "components").rglob("*.yaml")]
    return sorted(path for path in files if path.name != "kustomization.yaml")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_rendered_is_valid_by_kubernetes_schemas(overlay: str, version: str) -> None:
    for document in rendered(overlay):
        if document["kind"] not in FOREIGN:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("component", COMPONENTS)
def test_what_a_component_makes_is_valid(component: str, tmp_path: Path) -> None:
    documents = with_component(component, tmp_path)
    assert len(documents) == len(rendered("base")) + 1
    for document in documents:
        if document["kind"] not in FOREIGN:
            kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
    has_count = "replicas" in the("Deployment", documents)["spec"]
    assert has_count == (not component.startswith("scale-"))


def test_a_word_that_kubernetes_does_not_know_is_found() -> None:
    document = read_yaml(ROOM / "base/disruption-budget.yaml")
    document["spec"]["maxUnavailabel"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


def test_every_file_is_listed_and_valid_where_it_is_whole() -> None:
    for path in written():
        listed = read_yaml(path.parent / "kustomization.yaml")["resources"]
        assert path.name in listed
        document = read_yaml(path)
        if document["kind"] not in FOREIGN | {"Deployment"}:  # a selector is added to that one
            kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pod_has_no_rights_that_it_does_not_need(overlay: str) -> None:
    spec, box = pod(rendered(overlay)), container(rendered(overlay))
    assert spec["automountServiceAccountToken"] is False
    assert the("ServiceAccount", rendered(overlay))["automountServiceAccountToken"] is False
    own = spec["securityContext"]
    assert (own["runAsNonRoot"], own["runAsUser"], own["fsGroup"]) == (True, 10001, 10001)
    assert own["seccompProfile"] == {"type": "RuntimeDefault"}
    assert box["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= box["resources"]["requests"].keys()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_come_by_reference_and_nobody_but_the_service_reads_them(overlay: str) -> None:
    assert [each for each in rendered(overlay) if each["kind"] == "Secret"] == []
    mounted = [each["secret"] for each in pod(rendered(overlay))["volumes"] if "secret" in each]
    assert {each["secretName"] for each in mounted} >= {"isthmus-tokens"}
    assert {each["defaultMode"] for each in mounted} == {0o440}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_folder_that_a_flag_names_is_mounted(overlay: str) -> None:
    mounts = {
        each["mountPath"]: each["name"] for each in container(rendered(overlay))["volumeMounts"]
    }
    volumes = {each["name"] for each in pod(rendered(overlay))["volumes"]}
    assert set(mounts.values()) == volumes
    named = [each.partition("=")[2] for each in flags(rendered(overlay))]
    paths = [Path(each) for each in named if each.startswith("/")]
    assert len(paths) >= 2
    assert [each for each in paths if not {str(each), str(each.parent)} & mounts.keys()] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_service_has_the_flags_and_time_to_drain(overlay: str) -> None:
    options = cloud_options([*entrypoint("cloud"), *flags(rendered(overlay))])
    ports = {each["name"]: each["containerPort"] for each in container(rendered(overlay))["ports"]}
    assert options.listen == f"0.0.0.0:{ports['grpc']}"
    assert options.http == f"0.0.0.0:{ports['web']}"
    is_open = {options.insecure, options.http_insecure, options.tokens_in_clear}
    assert is_open == {overlay == "overlays/dev"}
    assert options.tokens is not None
    assert options.threads == int(THREADS)
    before_s = container(rendered(overlay))["lifecycle"]["preStop"]["sleep"]["seconds"]
    patience_s = pod(rendered(overlay))["terminationGracePeriodSeconds"]
    assert patience_s > before_s + options.drain_grace


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_flag_of_the_config_map_is_used_where_all_flags_are(overlay: str) -> None:
    used = set(re.findall(r"\$\((\w+)\)", " ".join(container(rendered("base"))["args"])))
    (source,) = container(rendered(overlay))["envFrom"]
    assert the("ConfigMap", rendered(overlay), source["configMapRef"]["name"])["data"].keys() == (
        used - {"THREADS"}
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_ask_what_they_mean(overlay: str) -> None:
    box = container(rendered(overlay))
    is_dev = overlay == "overlays/dev"
    scheme = "HTTP" if is_dev else "HTTPS"
    assert box["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "web", "scheme": scheme}
    ready = {"path": "/readyz", "port": "web", "scheme": scheme}
    for name in ("startupProbe", "readinessProbe"):
        probe = box[name]
        assert probe["grpc" if is_dev else "httpGet"] == ({"port": 50051} if is_dev else ready)
        assert len(probe.keys() & {"grpc", "httpGet"}) == 1


def test_no_replica_goes_before_another_has_come_and_the_name_stands_for_each() -> None:
    documents = rendered("base")
    strategy = the("Deployment", documents)["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxUnavailable": 0, "maxSurge": 1}
    assert the("Deployment", documents)["spec"]["replicas"] == 2
    assert the("Service", documents)["spec"]["clusterIP"] == "None"
    assert the("PodDisruptionBudget", documents)["spec"]["maxUnavailable"] == 1


def test_the_network_lets_devices_in_and_nothing_out() -> None:
    policy = the("NetworkPolicy", rendered("base"))["spec"]
    assert policy["egress"] == []
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    open_to_all = [rule["ports"] for rule in policy["ingress"] if "from" not in rule]
    assert open_to_all == [[{"port": "grpc"}]]


def test_the_gpu_overlay_asks_for_one_gpu_and_the_image_that_uses_it() -> None:
    documents = rendered("overlays/gpu")
    assert container(documents)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container(documents)["image"].startswith("isthmus-cloud-gpu:")
    assert cloud_options(flags(documents)).provider == "cuda"


def test_images_have_the_version_of_this_checkout() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for overlay in ("base", "overlays/gpu", "overlays/ray"):
        (image,) = read_yaml(ROOM / overlay / "kustomization.yaml")["images"]
        assert image["newTag"] == project["version"]
        assert "/" not in image.get("newName", image["name"])


def secret(volume: Path, **files: Path) -> Path:
    """A folder as the kubelet mounts a Secret: files are links through `..data`."""
    first = volume / "..2026_11_23"
    first.mkdir(parents=True)
    for name, source in files.items():
        key = name.replace("_", ".")
        (first / key).write_bytes(source.read_bytes())
        (first / key).chmod(0o440)
        (volume / key).symlink_to(Path("..data") / key)
    (volume / "..data").symlink_to(first.name)
    return volume


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kubernetes") / "secrets"
    ran = make_secrets(folder)
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.parametrize("overlay", ["base", "overlays/dev"])
def test_the_flags_start_a_service_that_is_ready_and_drains(
    overlay: str, made: Path, tmp_path: Path
) -> None:
    """On the loopback, with Secrets as the kubelet mounts them."""
    pair = {"tls_crt": made / "server.pem", "tls_key": made / "server.key"}
    places = {
        "/store": tmp_path / "store",
        "/etc/isthmus/tls": secret(tmp_path / "tls", **pair),
        "/etc/isthmus/tokens": secret(tmp_path / "tokens", tokens_jsonl=made / "tokens.jsonl"),
        "/etc/isthmus/web": secret(tmp_path / "web", token=made / "web.token"),
    }
    arguments = on_this_machine([*entrypoint("cloud"), *flags(rendered(overlay))], places)
    with Command("cloud", *arguments) as service:
        page = service.line("the dashboard is on ").split()[-1]
        service.line("listening on ")
        scheme = container(rendered(overlay))["livenessProbe"]["httpGet"]["scheme"]
        assert page.startswith(f"{scheme.lower()}://")
        assert ready(page.rpartition(":")[2]) == 0
        assert service.told(signal.SIGTERM).status == 0


def test_the_overlay_of_the_guide_renders(tmp_path: Path) -> None:
    """Its image, its flags beside those of the base, its component."""
    guide = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
    text = guide.partition("# kustomization.yaml\n")[2].partition("```")[0]
    documents = beside_the_base(text.replace("…/docker/kubernetes", ".."), tmp_path)
    assert container(documents)["image"] == "registry.example/isthmus-cloud:0.1.0"
    options = cloud_options(flags(documents))
    assert (options.workers, options.max_streams, options.max_batch) == (1, 200, 32)
    assert the("Service", documents, "isthmus-public")["spec"]["type"] == "LoadBalancer"
