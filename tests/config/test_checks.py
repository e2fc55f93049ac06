from dataclasses import replace

import pytest

from rexjax.config import Blend, Config, Data, Ease, Pooled, Shop, Transformer
from rexjax.config.checks import check_memory
from rexjax.errors import UserError

GIB = 1 << 30


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (Config("w", teacher=Transformer(width=1 << 20, heads=1)), ["--teacher needs 17.0 GB", "memory"]),
        (Config("w", teacher=Blend((Ease(), Pooled(width=1 << 20)))), ["--teacher.members.1 needs"]),
        (Config("w", data=Data(length=1 << 26)), ["--teacher.members.3 needs", "--student.model needs"]),
        (Config("w", data=Data(source=Shop(10**6, 10**6, 10**9))), ["--data.source needs 24.0 GB"]),
    ],
)
def test_what_cannot_fit_is_refused_with_its_bytes(config, named):
    with pytest.raises(UserError, match="this machine has 8.6 GB of memory") as error:
        check_memory(config, 8 * GIB)
    assert all(words in str(error.value) for words in named), error.value


def test_default_models_fit():
    check_memory(Config("w"), 1 * GIB)
    check_memory(replace(Config("w"), teacher=Transformer(width=512, layers=8)), 2 * GIB)
