"""All stages on the built-in simulated shop.

    rexjax run configs/quickstart.py

docs/results/index.md has the figures.
"""

from rexjax.config import Columns, Config, Data, Encode, Pooled, Shop, Student, Training, Transformer


def get_config() -> Config:
    """3,000 customers, 1,000 items, 60,000 interactions."""
    training = Training(epochs=20, batch=32, warmup=100, validate_users=2000, patience=3)
    return Config(
        workdir="runs/quickstart",
        data=Data(
            source=Shop(users=3000, items=1000, interactions=60_000),
            columns=Columns(category="category"),
            length=32,
            strict=False,
            catalogue="log",
        ),
        encode=Encode(width=64),
        teacher=Transformer(width=64, dropout=0.3, training=training),
        student=Student(model=Pooled(width=32, training=training)),
    )
