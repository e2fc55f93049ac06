"""Amazon reviews 2014, 5-core: Beauty, Sports or Toys from a folder.

    rexjax run configs/amazon.py --data.path FOLDER --workdir runs/beauty

FOLDER holds interactions.parquet (user_id, item_id, day_since_first) and items.csv.gz (item_id, title, keywords).
Two CPU cores, test, the teacher's recall@10 / NDCG@10: Beauty, seeds 0, 1, 2, .1143 / .0681, .1124 / .0672, .1140 /
.0680 in 25 minutes each; with --teacher.members 2 Sports, seeds 0, 1, 2, .0674 / .0390, .0685 / .0397, .0680 / .0393 in
30 to 48, and Toys, seeds 0, 1, 2, .1204 / .0719, .1201 / .0721, .1200 / .0721. Beauty's student, of seed 1's teacher
(.1126 / .0674 when it was trained again), three seeds, .1132 / .0675, its control .1080 / .0633, in int8 .0674 at 1/58
of the teacher's FLOPs of a user's vector and 1/16 of its bytes, in 64 bytes an item .0668 at 1/28.
"""

from dataclasses import replace

from rexjax.config import Blend, Columns, Compress, Config, Data, Encode, Files, Pooled, Student, Training, Transformer


def get_config() -> Config:
    """Leave-one-out. Chosen on validation: width, decay, the text whole, words beside it, two kinds of blocks."""
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
