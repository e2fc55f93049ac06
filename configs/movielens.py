"""MovieLens 1M, from a folder; configs/movielens_tfds.py downloads it.

    rexjax run configs/movielens.py --data.path FOLDER

FOLDER holds interactions.parquet or .csv (user_id, item_id, timestamp) and items.csv (item_id, title, genres).
docs/results/teachers.md and docs/results/students.md have the figures.
"""

from rexjax.config import Config, Data, Encode, Files, Pooled, Student, Training, Transformer


def get_config() -> Config:
    """All ratings are interactions. Leave-one-out, histories of 200. Blocks and width were chosen on validation."""
    training = Training(
        epochs=16,
        batch=16,
        warmup=100,
        learning_rate=2e-3,
        decay_steps=-1,
        validate_every=4,
        validate_users=10_000,
        patience=9,
    )
    return Config(
        workdir="runs/movielens",
        data=Data(
            source=Files(),
            text=("title", "genres"),
            strict=False,  # 177 of the movies were never rated
            catalogue="log",
            length=200,
        ),
        encode=Encode(width=64),
        teacher=Transformer(width=128, block="hstu", dropout=0.2, training=training),
        student=Student(
            model=Pooled(width=96, profiles=8, hidden=256, training=training),
            teacher_weight=(0.4,),
        ),
    )
