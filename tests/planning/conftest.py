import importlib.util
import os

import pytest

from rexjax.planning.topology import ENVIRONMENT

os.environ.update(ENVIRONMENT)


@pytest.fixture(scope="session")
def libtpu():
    """Tests that compile for TPUs ask for this."""
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("needs the TPU compiler: pip install 'rexjax[plan]'")
