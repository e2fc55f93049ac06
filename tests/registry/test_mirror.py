import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from rexjax.errors import UserError
from rexjax.registry import mirror_to_mlflow

needs_mlflow = pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs rexjax[mlflow]")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where MLflow puts the files of runs
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said, start_new_session=True)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{uri}/health"):
                break
            time.sleep(0.2)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@needs_mlflow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", ["file", "server"])
def test_versions_and_aliases_are_mirrored_once(registry, make, request, place):
    from mlflow import MlflowClient

    uri = request.getfixturevalue(place)
    first = registry.add(make(), note="the first")
    registry.promote(first.id)
    second = registry.add(make(0.1), parent=first.id)
    assert (mirror_to_mlflow(registry, uri, "shop"), mirror_to_mlflow(registry, uri, "shop")) == (2, 0)
    client = MlflowClient(uri, uri)

    def alias(name):
        return client.get_model_version_by_alias("shop", name)

    assert alias("champion").tags["rexjax.version"] == first.id
    assert alias("challenger").tags["rexjax.version"] == second.id
    run = client.get_run(alias("challenger").run_id)
    assert run.data.metrics["ndcg_at_10"] == pytest.approx(second.metrics["quality"]["ndcg@10"])
    assert run.data.params["data.split"] == "leave_one_out" and run.data.tags["rexjax.parent"] == first.id
    assert "MODEL_CARD.md" in [file.path for file in client.list_artifacts(run.info.run_id)]
    registry.promote(second.id, registry.compare())
    assert mirror_to_mlflow(registry, uri, "shop") == 0
    assert alias("champion").tags["rexjax.version"] == second.id
    assert "challenger" not in client.get_registered_model("shop").aliases


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is not None, reason="MLflow is installed")
def test_without_mlflow_the_extra_is_named(registry):
    with pytest.raises(UserError, match=r"pip install 'rexjax\[mlflow\]'"):
        mirror_to_mlflow(registry, "sqlite:///nothing.db")
