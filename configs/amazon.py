"""Amazon reviews 2014, 5-core: Beauty, Sports or Toys from a folder.

    rexjax run configs/amazon.py --data.path FOLDER --workdir runs/beauty

FOLDER holds interactions.parquet (user_id, item_id, day_since_first) and items.csv.gz (item_id, title, keywords).
Two CPU cores, the teacher in 22 minutes, seed 0. Beauty, test: teacher recall@10 .1067, NDCG@10 .0643. Of the teacher
before it (.1041 / .0618) the student reached .1029 / .0601 at 1/90 of the FLOPs, its control without it .0950 / .0559,
int8 .1029 / .0603; it has not been trained on this one. Sports and Toys have not been run.
"""

from rexjax.config import Columns, Config, Data, Encode, Student, Teacher, Training


def get_config() -> Config:
    """Leave-one-out. Chosen on validation: the width, decay, the text whole, two kinds of blocks; then two of each."""
    return Config(
        workdir="runs/amazon",
        data=Data(
            source="files",
            columns=Columns(time="day_since_first"),
            text=("title", "keywords"),
            strict=False,
            length=50,
        ),
        encode=Encode(width=384, words=768, reduction="none"),
        teacher=Teacher(
            width=128,
            blocks=("hstu", "sasrec"),
            dropout=0.5,
            members=4,
            training=Training(epochs=25, batch=48, decay_steps=-1, validate_every=5, validate_users=30_000, patience=9),
        ),
        student=Student(width=48, hidden=96, training=Training(epochs=30, batch=48, validate_every=2, patience=3)),
    )
