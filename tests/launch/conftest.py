import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
FLAGS = ("--project", "my-project", "--zone", "us-east5-a")


class Cloud:
    """A folder that plays Google Cloud, by stand-ins on PATH; see stand_ins/gcloud for the failures it can inject."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(HERE / "stand_ins", folder / "bin")
        (folder / "config.py").touch()
        (folder / "rexjax-0.1.0-py3-none-any.whl").touch()

    def launch(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        known = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "CLOUD": str(self.folder), "POLL": "0"}
        known |= {"REPOSITORY": str(REPOSITORY), "BUCKET": "my-bucket", "TOPOLOGY": "v5e:4x4"}
        known |= {"CONFIG": "config.py", "WHEEL": "rexjax-0.1.0-py3-none-any.whl"}
        command = ["bash", str(REPOSITORY / "launch" / script), *FLAGS, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=os.environ | known | environment, timeout=300
        )

    def lines(self, name: str) -> list[str]:
        """What a stand-in noted."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def verbs(self) -> list[str]:
        """What was asked of the cloud, in order; repeated looks count once."""
        asked = [next((verb for verb in _VERBS if f" {verb} " in f"{line} "), line) for line in self.lines("calls")]
        return [verb for number, verb in enumerate(asked) if verb not in asked[number - 1 : number]]


_VERBS = ("plan", "buckets", "create", "describe", "delete", "scp", "setup", "start", "follow", "ended")


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


@pytest.fixture
def golden():
    """Compares a text with the file of that name; with REXJAX_GOLDEN=write in the environment it writes it."""

    def compare(name: str, text: str) -> None:
        path = HERE / "golden" / name
        if os.environ.get("REXJAX_GOLDEN") == "write":
            path.write_text(text)
        assert text == path.read_text()

    return compare
