"""A tiny run of the command line, shared by its tests."""

import hashlib

from rexjax.cli import main as cli

CONFIG = """
from rexjax.config import *

def get_config():
    training = Training(epochs=1, batch=4, warmup=2, validate_users=64)
    shop = Shop(users=60, items=40, interactions=600, days=30)
    return Config(
        workdir={workdir!r},
        data=Data(source=shop, min_user_events=1, min_item_events=1, length=8, strict=False),
        encode=Encode(vectors={vectors!r}, width=8),
        teacher=Transformer(width=8, layers=1, training=training),
        student=Student(model=Pooled(width=8, profiles=2, hidden=8, training=training), top_k=5),
        baselines=(Popularity(), TextCosine()),
        compress=Compress(variants=("int8", "int4")),
        evaluate=Evaluate(resamples=50, latency_repeats=5),
        mesh=Mesh(data=1),
    )
"""


def main(*arguments):
    """Runs the command line in this process; returns the exit code."""
    try:
        cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code
    return 0


def state(folder):
    """Every file below a folder with its hash."""
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(capsys, *arguments):
    """Asserts one sentence on standard error and exit code 2; returns it."""
    capsys.readouterr()
    assert main(*arguments) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.startswith("rexjax: ") and err.count("\n") == 1, err
    return err
