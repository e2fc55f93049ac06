import pytest

from rexjax.families.base import Run, TrainingData
from tests.families.small_log import make_data, make_log, make_run


@pytest.fixture(scope="session")
def data() -> TrainingData:
    return make_data(make_log())


@pytest.fixture
def run(tmp_path) -> Run:
    return make_run(tmp_path)
