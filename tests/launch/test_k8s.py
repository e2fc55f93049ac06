import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from prometheus_client import generate_latest

from rexjax.cli import main
from rexjax.errors import UserError
from rexjax.serving import run, server
from rexjax.serving.keys import Keys
from rexjax.serving.metrics import Measures
from tests.launch import schemas

K8S = Path(__file__).parent.parent.parent / "launch/k8s"
KUSTOMIZATION = yaml.safe_load((K8S / "kustomization.yaml").read_text())
MANIFESTS = [one for name in KUSTOMIZATION["resources"] for one in yaml.safe_load_all((K8S / name).read_text())]
BY_KIND = {one["kind"]: one for one in MANIFESTS}
POD = BY_KIND["Deployment"]["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]
RULE = yaml.safe_load((K8S / "adapter-rules.yaml").read_text())["rules"]["custom"][0]


@pytest.mark.parametrize("kind", BY_KIND)
def test_manifests_follow_the_schemas(kind):
    schemas.check(BY_KIND[kind])


@pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl")
def test_kustomize_puts_them_together():
    done = subprocess.run(["kubectl", "kustomize", str(K8S)], capture_output=True, text=True, check=True)
    built = {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}
    for one in built.values():
        schemas.check(one)
    pod, image = built["Deployment"]["spec"]["template"]["spec"], KUSTOMIZATION["images"][0]
    assert pod["containers"][0]["image"] == f"{image['newName']}:{image['newTag']}"
    # a name with a hash: another export is another name, and rolls the replicas over
    assert pod["initContainers"][0]["envFrom"][0]["configMapRef"]["name"] == built["ConfigMap"]["metadata"]["name"]
    assert built["ConfigMap"]["metadata"]["name"] != "rexjax-export"


@pytest.fixture
def app(monkeypatch, tmp_path):
    """The server's routes, with no bundle behind them."""
    monkeypatch.setattr(server, "Bundle", lambda folder, **rest: SimpleNamespace())
    monkeypatch.setattr(server, "Engine", lambda bundle, **rest: SimpleNamespace(bundle=bundle))
    monkeypatch.setattr(Measures, "loaded", lambda self, bundle: None)
    made = server.Server(tmp_path, keys=Keys([]), store=tmp_path / "histories.db")
    yield made.app
    made.store.close()


def test_every_path_is_a_route(app):
    paths = {route.path for route in app.routes}
    probes = [CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    assert {probe["path"] for probe in probes} == {"/readyz", "/healthz"} <= paths
    assert POD["metadata"]["annotations"]["prometheus.io/path"] in paths
    assert re.findall(r'path="([^"]+)"', RULE["metricsQuery"])[0] in paths


def test_flags_and_ports_are_those_of_the_command(tmp_path):
    assert CONTAINER["args"][0] == "serve"
    _, asked, _ = main.parse(CONTAINER["args"])
    ports = {one["name"]: one["containerPort"] for one in CONTAINER["ports"]}
    assert ports == {"http": asked.port}
    assert POD["metadata"]["annotations"]["prometheus.io/port"] == str(asked.port)
    assert BY_KIND["Service"]["spec"]["ports"][0]["targetPort"] in ports
    assert {CONTAINER[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "readiness", "liveness")} <= set(ports)
    with pytest.raises(UserError, match="give API keys"):  # what the Secret is for
        run.serve(asked.folder, asked.host, asked.port, None, tmp_path / "histories.db", asked.waiting, print)


def test_what_is_read_is_mounted_read_only_and_what_is_written_is_the_replicas_own():
    _, asked, _ = main.parse(CONTAINER["args"])
    mounts = {Path(one["mountPath"]): one for one in CONTAINER["volumeMounts"]}
    volumes = {one["name"]: one for one in POD["spec"]["volumes"]}
    assert mounts[asked.folder]["readOnly"] and mounts[asked.keys.parent]["readOnly"]
    assert asked.trust.parent == asked.keys.parent
    assert "secret" in volumes[mounts[asked.keys.parent]["name"]]
    caches = [Path(one["value"]) for one in CONTAINER["env"] if one["name"] == "XDG_CACHE_HOME"]
    for written in (Path(asked.store), *caches):
        mount = mounts[written.parent]
        assert not mount.get("readOnly") and "emptyDir" in volumes[mount["name"]]
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"]
    # the only thing that comes from elsewhere, and each replica fetches it for itself
    assert {name for name, one in volumes.items() if "emptyDir" not in one} == {"keys"}
    assert POD["spec"]["initContainers"][0]["command"][-1] == str(asked.folder)


def test_accepted_requests_have_the_servers_own_time_to_finish():
    pause = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["spec"]["terminationGracePeriodSeconds"] >= pause + run.GRACE_SECONDS + 5


def test_the_autoscaler_reads_what_the_server_measures(monkeypatch):
    measures = Measures()
    measures.request("/v1/recommend", 200, 0.01)
    exposed = generate_latest(measures.registry).decode()
    query = RULE["metricsQuery"]
    for name in re.findall(r"rexjax_\w+", query + RULE["seriesQuery"]):
        assert re.search(rf"^{name}[ {{]", exposed, re.M), name
    labels = dict(re.findall(r'(\w+)="([^"]+)"', query))
    found = re.search(r"^rexjax_request_seconds_bucket\{(.*)\}", exposed, re.M)[1]
    assert labels == {name: value for name, value in re.findall(r'(\w+)="([^"]+)"', found) if name != "le"}
    metric = BY_KIND["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert metric == RULE["name"]["as"]


def test_all_speak_of_the_same_pods():
    labels, name = POD["metadata"]["labels"], BY_KIND["Deployment"]["metadata"]["name"]
    assert BY_KIND["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert BY_KIND["Service"]["spec"]["selector"] == labels
    assert BY_KIND["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert BY_KIND["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == name
    assert BY_KIND["ServiceAccount"]["metadata"]["name"] == POD["spec"]["serviceAccountName"]
