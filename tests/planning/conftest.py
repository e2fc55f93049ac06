import pytest

from rexjax.config import Config, Data, Encode, Evaluate, Pooled, Shop, Student, Training, Transformer


@pytest.fixture(autouse=True)
def _optimized(optimized):
    """Plans read what the compiler says."""


@pytest.fixture
def tiny(tmp_path):
    """A config whose programs compile in seconds; without a text encoder, whose vectors are given."""
    training = Training(batch=6)
    return Config(
        workdir=str(tmp_path / "workdir"),
        data=Data(source=Shop(users=60, items=40, interactions=600), length=8),
        encode=Encode(vectors="vectors.npy", width=8),
        teacher=Transformer(width=8, layers=1, training=training),
        student=Student(model=Pooled(width=8, profiles=2, hidden=8, training=training), top_k=5),
        evaluate=Evaluate(k=(10,)),
    )
