"""Amazon reviews 2014, 5-core: Beauty, Sports or Toys from a folder.

    rexjax run configs/amazon.py --data.path FOLDER --workdir runs/beauty

FOLDER holds interactions.parquet (user_id, item_id, day_since_first) and items.csv.gz (item_id, title, keywords).
docs/results/teachers.md and docs/results/students.md have the figures. Times count from each user's first event, so
``global_time`` has no meaning here.
"""

from dataclasses import replace

from rexjax.config import Blend, Columns, Compress, Config, Data, Encode, Files, Pooled, Student, Training, Transformer


def get_config() -> Config:
    """Leave-one-out. Width, decay, unreduced text, TF-IDF and both kinds of blocks were chosen on validation."""
    training = Training(
        epochs=25, batch=48, warmup=100, decay_steps=-1, validate_every=5, validate_users=30_000, patience=9
    )
    hstu, sasrec = (Transformer(width=128, block=block, dropout=0.5, training=training) for block in ("hstu", "sasrec"))
    return Config(
        workdir="runs/amazon",
        data=Data(
            source=Files(),
            columns=Columns(time="day_since_first"),
            text=("title", "keywords"),
            strict=False,
            catalogue="log",
            length=50,
        ),
        encode=Encode(width=384, tfidf_width=768, reduction="none"),
        teacher=Blend(members=(hstu, sasrec, hstu, sasrec), weights=(0.25,) * 4, standardized=False),
        student=Student(
            model=Pooled(
                width=128,
                profiles=8,
                hidden=256,
                dropout=0.3,
                logit_adjustment=0.2,
                training=replace(training, epochs=16, validate_every=4),
            ),
            teacher_weight=(0.6,),
        ),
        compress=Compress(
            serve="int4",
            dropout=0.3,
            training=replace(training, epochs=12, learning_rate=2e-3, validate_every=3, patience=5),
        ),
    )
