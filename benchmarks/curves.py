"""Learning curves of a small transformer on the simulated shop.

    python -m benchmarks.curves --json benchmarks/results/curves.json --svg benchmarks/results/curves.svg

The default shop; a transformer of width 32 and one block, without text. A share of the log is that of its users. Every
point is one fit, judged on validation; see ``rexjax.pipeline.curves``.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import record
from rexjax.config import Config, Data, Training, Transformer
from rexjax.pipeline import curves


def main() -> None:
    """Fits, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--by", choices=("users", "time"), default="users", help="what a share of the log is")
    parser.add_argument("--json", default="", help="where to write the rows")
    parser.add_argument("--svg", default="", help="where to draw the picture")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as workdir:
        config = Config(
            workdir=f"{workdir}/run",
            data=Data(text=()),
            teacher=Transformer(width=32, layers=1, training=Training(epochs=30)),
        )
        found = curves.run(config, print, curves.Asked(by=flags.by))
        if flags.svg:
            Path(flags.svg).write_bytes((Path(workdir) / "run" / curves.FOLDER / "curves.svg").read_bytes())
    record.write(flags.json, rows(found), ("jax", "flax", "optax", "numpy"), seeds=[0])


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a point, of all three curves."""
    select = found["select"]
    points = [
        {"case": f"{curve}, {point['share']:.0%}", "interval": [point["low"], point["high"]]}
        | {name: point[name] for name in ("users", "items", "events", "random", select)}
        for curve in ("log", "catalogue")
        for point in found[curve]
    ]
    return points + [{"case": f"epoch {row['epoch']}", select: row[select]} for row in found["epochs"]]


if __name__ == "__main__":
    main()
