"""A catalogue of a billion items on a pod: what a plan is for.

    rexjax plan configs/web_scale.py --topology v5p:4x4x4 --items 1000000000

Ids alone (no text), rows of 128 in float32 with row-wise Adagrad, sampled softmax: a step reads and moves only the rows
that its batch names. Fits on 64 v5p chips with room to spare; on v5e:2x2 the plan says by how much it does not. Not
trained here.
"""

from rexjax.config import Config, Data, Files, Pooled, Rows, Student, Training, Transformer


def get_config() -> Config:
    """Log and sizes of your own: data.path."""
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
