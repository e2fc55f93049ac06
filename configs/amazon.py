"""Amazon reviews 2014, 5-core: Beauty, Sports or Toys from a folder."""

from rexjax.config import Columns, Config, Data, Encode, Student, Teacher, Training


def get_config() -> Config:
    """Tuned on Beauty's validation part."""
    return Config(
        workdir="runs/amazon",
        data=Data(
            source="files",
            columns=Columns(time="day_since_first"),
            text=("title", "keywords"),
            strict=False,
            length=50,
        ),
        encode=Encode(width=128),
        teacher=Teacher(width=128, dropout=0.5, training=Training(epochs=50, batch=48, validate_every=2, patience=3)),
        student=Student(width=48, hidden=96, training=Training(epochs=30, batch=48, validate_every=2, patience=3)),
    )
