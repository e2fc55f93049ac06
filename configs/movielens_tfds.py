"""MovieLens 1M with the settings of configs/movielens.py. TFDS downloads movielens/1m-ratings from GroupLens.

    rexjax run configs/movielens_tfds.py

For research use. The log carries the titles; there are no genres.
"""

from dataclasses import replace
from pathlib import Path

from rexjax.config import Columns, Config, Tfds, load


def get_config() -> Config:
    """Everything but the source is that of configs/movielens.py."""
    files = load(Path(__file__).with_name("movielens.py"))
    data = replace(
        files.data,
        source=Tfds("movielens/1m-ratings"),
        items="",
        columns=Columns(item="movie_id"),
        text=("movie_title",),
    )
    return replace(files, workdir="runs/movielens_tfds", data=data)
