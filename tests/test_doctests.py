"""The examples in the docstrings of public functions run, and each of these functions has one."""

import doctest
from importlib import import_module

import pytest

EXAMPLES = {
    "rexjax.compression.prune": {"magnitude_prune"},
    "rexjax.embedding.quantized": {"quantize_rows", "straight_through"},
    "rexjax.embedding.bags": {"combine"},
    "rexjax.embedding.table": {"Table.on"},
    "rexjax.evaluation.metrics": {"coverage", "per_user"},
    "rexjax.losses.listwise": {"lambdarank", "listmle", "listnet", "ndcg", "warp"},
    "rexjax.losses.sampled": {
        "bpr",
        "gbce",
        "sampled_softmax",
        "soft_cross_entropy",
        "softmax_cross_entropy",
    },
    "rexjax.losses.sharded_softmax": {"cross_entropy", "mixture", "one_label"},
    "rexjax.retrieval.sharded": {"top_k"},
    "rexjax.retrieval.topk": {"top_k"},
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_docstrings_run(name):
    module = import_module(name)
    with_examples = [found for found in doctest.DocTestFinder().find(module, name) if found.examples]
    assert EXAMPLES[name] == {found.name.removeprefix(f"{name}.") for found in with_examples}
    report: list[str] = []
    runner = doctest.DocTestRunner()
    for found in with_examples:
        runner.run(found, out=report.append)
    assert not runner.failures, "".join(report)
