from prometheus_client import generate_latest

from rexjax.serving.bundle import Bundle
from rexjax.serving.metrics import Measures


def test_what_was_observed_is_told(exported):
    measures, bundle = Measures(), Bundle(exported)
    measures.loaded(bundle)
    measures.observe("batch_size", 3)
    measures.observe("queue", 0.001)
    measures.observe("model", 0.2)
    measures.request("/v1/recommend", 429, 0.01)
    measures.scored([0.75, 0.5])
    measures.scored([])
    lines = dict(line.rsplit(" ", 1) for line in generate_latest(measures.registry).decode().splitlines())
    assert lines['rexjax_batch_size_bucket{le="2.0"}'] == "0.0" and lines['rexjax_batch_size_bucket{le="4.0"}'] == "1.0"
    assert lines['rexjax_stage_seconds_count{stage="queue"}'] == lines['rexjax_stage_seconds_count{stage="model"}']
    assert lines['rexjax_request_seconds_count{path="/v1/recommend",status="429"}'] == "1.0"
    assert lines["rexjax_best_score_count"] == lines['rexjax_best_score_bucket{le="0.8"}'] == "1.0"
    assert float(lines["rexjax_items"]) == bundle.items and float(lines["rexjax_index_age_seconds"]) >= 0
    expected = sum(row[0] for row in bundle.probe.scores) / len(bundle.probe.scores)
    assert abs(float(lines["rexjax_best_score_expected"]) - expected) < 1e-9
