import json
import subprocess
import sys
from pathlib import Path


def test_writers_that_are_killed_leave_one_champion_and_whole_versions(tmp_path):
    found = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks.registry_kills", "--moments", "3", "--json", str(found)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    sound = [row for row in json.loads(found.read_text())["rows"] if "of" in row]
    assert len(sound) == 4 and all(row["ours"] == row["of"] == 3 for row in sound)
