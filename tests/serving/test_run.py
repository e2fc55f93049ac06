"""A real server in a process of its own, on loopback."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest


class Running:
    """``rexjax serve`` until the block ends."""

    def __init__(self, folder, tmp_path, *flags):
        command = [sys.executable, "-m", "rexjax.cli", "serve", str(folder), "--port", "0"]
        self.log = tmp_path / "log"  # a file: a pipe that nobody reads is full after some hundred requests
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--store", str(tmp_path / "store.db"), *flags],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
            )

    def __enter__(self):
        self.address = self.process.stdout.readline().split(": ")[0]
        assert self.address.startswith("http://127.0.0.1:"), self.log.read_text()
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.address + path, data, timeout=60) as response:
            return json.load(response)


def test_it_answers_and_ends_in_peace_and_knows_its_users_after_a_restart(exported, tmp_path):
    with Running(exported, tmp_path) as server:
        assert server.ask("/readyz")["ready"]
        assert len(server.ask("/v1/recommend", {"history": ["i1"], "k": 7})["items"]) == 7
        server.ask("/v1/events", {"user": "ann", "items": ["i5"]})
        first = server.ask("/v1/recommend", {"user": "ann"})
        found, burst = [], lambda: found.append(server.ask("/v1/recommend", {"history": ["i2"]}))
        threads = [threading.Thread(target=burst) for _ in range(20)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(found) == 20
        server.process.send_signal(signal.SIGTERM)
        server.process.communicate(timeout=60)
    log = server.log.read_text()
    assert server.process.returncode in (0, -signal.SIGTERM) and "Traceback" not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["said"]["path"] for line in lines} == {"/v1/recommend", "/v1/events"} and "ann" not in log
    with Running(exported, tmp_path) as server:
        assert server.ask("/v1/recommend", {"user": "ann"}) == first


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--host", "0.0.0.0"], "can be reached by others: give API keys"),
        (["--waiting", "0"], "at least one request must be able to wait"),
        (["--keys", "nowhere"], "--keys nowhere cannot be read"),
        (["--port", "99999"], "cannot listen on 127.0.0.1:99999"),
    ],
)
def test_mistakes_are_said_in_one_sentence(exported, tmp_path, flags, sentence, monkeypatch, capsys):
    from rexjax import cli

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["serve", str(exported), *flags])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said


def test_a_folder_that_is_no_export_is_refused_and_export_says_what_it_wrote(workdir, tmp_path, monkeypatch, capsys):
    from rexjax import cli

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["serve", str(tmp_path), "--port", "0"])
    assert "is no finished export: make one with `rexjax export WORKDIR" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    cli.main(["export", str(workdir), "out"])
    assert "out: 12,000 items" in capsys.readouterr().out
    assert not json.loads(Path("out/bundle.json").read_text())["compared"]
    cli.main(["export", str(workdir), "out", "--compare"])
    assert set(json.loads(Path("out/bundle.json").read_text())["compared"]) == {"teacher", "student"}


def test_it_keeps_what_its_openapi_promises_whatever_is_sent(exported, tmp_path):
    """Fuzzed by schemathesis: no 5xx, no status or type that is not in the schema, no schema violation accepted."""
    allowed = ", ".join(f'"{status}"' for status in (400, 401, 404, 405, 413, 422, 429))
    (tmp_path / "schemathesis.toml").write_text(f"[checks.negative_data_rejection]\nexpected-statuses = [{allowed}]\n")
    with Running(exported, tmp_path) as server:
        fuzz = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", server.address + "/openapi.json", "--checks", "all"]
            + ["--max-examples", "25", "--seed", "1", "--request-timeout", "60", "--no-color"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert fuzz.returncode == 0, fuzz.stdout[-6000:] + fuzz.stderr[-2000:]
        assert server.ask("/readyz")["ready"]
