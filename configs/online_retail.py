"""Online Retail: a real shop for gift-ware, 386,326 invoice lines (Chen 2015, CC BY 4.0), from a folder.

    rexjax run configs/online_retail.py --data.path FOLDER

FOLDER holds interactions.parquet (user_id, item_id, timestamp, invoice) and items.csv (item_id, title).
All lines of an invoice share one time. The split therefore holds out whole invoices, and labels are drawn from the next
invoice. The teacher blends counted models with two transformers. Their settings and weights are chosen on validation.
docs/results/index.md has the figures.
"""

from rexjax.config import (
    Blend,
    Columns,
    Config,
    Data,
    Ease,
    Encode,
    Files,
    ItemKNN,
    Pooled,
    Popularity,
    RecentPopularity,
    SequentialRules,
    Student,
    TextCosine,
    TextKNN,
    Training,
    Transformer,
)


def get_config() -> Config:
    """First purchases, 5-core. The last invoice of a user is the test."""
    training = Training(epochs=30, batch=24, warmup=100, patience=4)
    ease = Ease(l2=500, decay=0.7, training_decay=0.9, recency="times")
    sasrec, hstu = (Transformer(width=64, block=block, dropout=0.5, training=training) for block in ("sasrec", "hstu"))
    counted = (
        ease,
        Ease(l2=1000),
        TextKNN(decay=0.97),
        ItemKNN(decay=0.9),
        SequentialRules(decay=0.98, window=5, rules=200),
    )
    return Config(
        workdir="runs/online_retail",
        data=Data(
            source=Files(),
            columns=Columns(session="invoice"),
            split="last_session",
            targets="next_time",
            catalogue="log",
            length=100,
        ),
        encode=Encode(width=64),
        baselines=(
            Popularity(),
            RecentPopularity(),
            TextCosine(),
            *counted,
        ),
        teacher=Blend(members=(*counted, sasrec, hstu)),
        student=Student(
            model=Pooled(width=64, hidden=128, profiles=8, dropout=0.2, training=training),
            teacher_weight=(0.6,),
            augmented_rounds=2,
        ),
    )
