import pytest

from rexjax.config.schema import Config, Data, Encode, Evaluate, Shop, Student, Teacher, Training


@pytest.fixture
def tiny(tmp_path):
    """A config whose programs compile in seconds; without a text encoder, whose vectors are given."""
    training = Training(batch=6)
    return Config(
        workdir=str(tmp_path / "workdir"),
        data=Data(source=Shop(users=60, items=40, interactions=600), length=8),
        encode=Encode(vectors="vectors.npy", width=8),
        teacher=Teacher(width=8, layers=1, training=training),
        student=Student(width=8, kernels=2, hidden=8, list_length=5, training=training),
        evaluate=Evaluate(k=(10,)),
    )
