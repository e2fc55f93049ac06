"""A catalogue of a billion items on a TPU pod: an example for ``rexjax plan``.

    rexjax plan configs/web_scale.py --topology v5p:4x4x4 --items 1000000000

Items have ids and no text. Rows have 128 float32 numbers, with row-wise Adagrad. With the sampled softmax a step reads
and moves only the rows of its batch. The plan says that it fits v5p:4x4x4 and does not fit v5e:2x2. It has not been
trained.
"""

from rexjax.config import Config, Data, Files, Pooled, Rows, Student, Training, Transformer


def get_config() -> Config:
    """Set data.path to your own log."""
    training = Training(batch=4096, rows=Rows("row_wise_adagrad", learning_rate=0.05), epochs=3, warmup=100)
    return Config(
        workdir="runs/web_scale",
        data=Data(source=Files(), path="data", text=(), length=64),
        teacher=Transformer(
            width=128,
            layers=4,
            heads=4,
            activations="bfloat16",
            loss="sampled_softmax",
            negatives=8192,
            training=training,
        ),
        student=Student(model=Pooled(width=32, training=training)),
    )
