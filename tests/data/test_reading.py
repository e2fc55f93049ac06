"""Random logs, written in random dialects and types, are read as they are meant, or refused."""

import ibis
from hypothesis import HealthCheck, given, settings

from tests.reference.reading import Written, differences, logs


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(written=logs())
def test_a_log_is_read_as_it_is_meant_or_refused(tmp_path_factory, written: Written):
    con = ibis.duckdb.connect()
    found = differences(written, tmp_path_factory.mktemp("log"), con)
    con.disconnect()
    assert found == "equal" or found.startswith("refused: "), (written, found)
