import ibis
import numpy as np
import pyarrow as pa
import pytest

from rexjax.data import quantiles

RNG = np.random.default_rng(0)
TIMES = {
    "one": np.array([5.0]),
    "two": np.array([1.0, 2.0]),
    "all the same": np.full(50, 1.7e9),
    "seconds": RNG.integers(1_700_000_000, 1_731_536_000, 999).astype(float),
    "many ties": RNG.integers(0, 5, 1000).astype(float),
    "fractions": 1.7e9 + RNG.random(1000),
    "neighbours": np.nextafter(1.7e9, 2e9) + np.arange(200) * 2.0**-22,
    "an outlier": np.append(RNG.random(500), 1e18),
    "below zero": -RNG.random(300) * 1e9,
    "tiny": RNG.random(300) * 1e-300,
}


@pytest.mark.parametrize("few", [1, 16, 1 << 20])
@pytest.mark.parametrize("name", TIMES)
def test_shares_are_those_of_numpys_quantile(name, few, monkeypatch):
    monkeypatch.setattr(quantiles, "FEW", few)
    monkeypatch.setattr(quantiles, "BUCKET_BITS", 3)
    log = ibis.duckdb.connect().create_table("log", pa.table({"time": TIMES[name]}))
    shares = (0.0, 0.1, 0.5, 0.8, 0.9, 0.95, 1.0)
    expected = np.quantile(TIMES[name], shares)
    np.testing.assert_allclose(quantiles.at_shares(log, shares), expected, rtol=1e-15)
