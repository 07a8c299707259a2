"""What kustomize makes of docker/kubernetes, and what is looked up in it."""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.house.deployed import DOCKER

ROOM = DOCKER / "kubernetes"
VERSIONS = ("1.30", "1.37")  # sleep as a preStop hook is in 1.30 for the first time
FOREIGN = {  # of operators: Kubernetes has no schema for them
    "PodMonitor",
    "RayService",
    "ScaledObject",
}
THREADS = "2"  # what the downward API makes of the processors that were asked for

Document = dict[str, Any]


@cache
def rendered(folder: Path | str) -> tuple[Document, ...]:
    """What `kubectl apply --kustomize` would apply; no cluster is asked."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl to render with")
    made = subprocess.run(
        ["kubectl", "kustomize", ROOM / folder],
        env=os.environ | {"KUBECONFIG": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(yaml.safe_load_all(made.stdout))


def beside_the_base(kustomization: str, folder: Path) -> tuple[Document, ...]:
    """What this file makes in a folder beside `base` and `components`."""
    shutil.copytree(ROOM, folder / "kubernetes")
    here = folder / "kubernetes/here"
    here.mkdir()
    (here / "kustomization.yaml").write_text(kustomization, encoding="utf-8")
    return rendered(here)


def the(kind: str, documents: tuple[Document, ...], name: str = "isthmus") -> Document:
    (found,) = (
        each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name)
    )
    return found


def pod(documents: tuple[Document, ...]) -> Document:
    spec: Document = the("Deployment", documents)["spec"]["template"]["spec"]
    return spec


def container(documents: tuple[Document, ...]) -> Document:
    (found,) = pod(documents)["containers"]
    assert isinstance(found, dict)
    return found


def flags(documents: tuple[Document, ...]) -> list[str]:
    """The arguments with the values of the config map, as the kubelet fills them in."""
    (source,) = container(documents)["envFrom"]
    values = the("ConfigMap", documents, source["configMapRef"]["name"])["data"]
    return [filled(each, values | {"THREADS": THREADS}) for each in container(documents)["args"]]


def filled(argument: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], argument)
