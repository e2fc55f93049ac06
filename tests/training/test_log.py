import importlib.util
import json

import pytest
from tensorboardX.proto.event_pb2 import Event

from rexjax.errors import UserError
from rexjax.training.log import Log

CURVE = [{"loss": 2.5, "ndcg@10": 0.125}, {"loss": 1.5, "ndcg@10": 0.25}]


def events(folder):
    """(tag, step, value) of a TensorBoard file: records of length, checksum, proto, checksum."""
    (path,) = folder.glob("events.*")
    data, at = path.read_bytes(), 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        event = Event.FromString(data[at + 12 : at + 12 + size])
        yield from ((value.tag, event.step, value.simple_value) for value in event.summary.value)
        at += 16 + size


def test_jsonl_and_tensorboard(tmp_path):
    with Log(tmp_path / "logs", "teacher") as log:
        for epoch, values in enumerate(CURVE, 1):
            log.write(epoch, values)
            written = (tmp_path / "logs" / "teacher.jsonl").read_text().splitlines()
            assert len(written) == epoch  # already on disk: a killed run keeps its log
    assert [json.loads(line) for line in written] == [{"epoch": n} | values for n, values in enumerate(CURVE, 1)]
    found = sorted(events(tmp_path / "logs" / "tensorboard" / "teacher"))
    # TensorBoard allows no @ in names
    assert found == sorted(
        (name.replace("@", "_"), n, value) for n, values in enumerate(CURVE, 1) for name, value in values.items()
    )


def test_a_second_run_goes_on_in_the_same_file(tmp_path):
    for epoch in (1, 2):
        with Log(tmp_path, "student") as log:
            log.write(epoch, {"loss": 1.0})
    lines = (tmp_path / "student.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_wandb_is_asked_for_but_not_installed(tmp_path):
    with pytest.raises(UserError, match=r"pip install 'rexjax\[wandb\]'"):
        Log(tmp_path, "teacher", wandb_project="shop")
