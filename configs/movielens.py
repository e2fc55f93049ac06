"""MovieLens 1M, from a folder; configs/movielens_tfds.py downloads it.

    rexjax run configs/movielens.py --data.path FOLDER

FOLDER holds interactions.parquet or .csv (user_id, item_id, timestamp) and items.csv (item_id, title, genres).
Two CPU cores, the teacher in 10 minutes. Test, seeds 0, 1, 2: hit rate@10 .3331, .3392, .3341; NDCG@10 .1956, .1956,
.1953 (popularity .0369 / .0180); with --teacher.time query, seed 0, .3460 / .2040. The student, at 1/56 of
the FLOPs, two seeds: NDCG@10 .1927 where its teacher makes .1941.
"""

from rexjax.config import Config, Data, Encode, Files, Pooled, Student, Training, Transformer


def get_config() -> Config:
    """All ratings are interactions; leave-one-out; histories of 200. Chosen on validation: blocks, width."""
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
