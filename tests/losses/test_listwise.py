import jax
import numpy as np
import pytest
import rax

from rexjax.losses import listwise, sampled
from tests.losses.test_sampled import LABELS, SCORES, WHERES, V
from tests.reference import losses as reference

IDS = np.asarray([0, 3, 5, 6], np.int32)
SHARE = len(IDS) / V


def arguments(scores=SCORES, labels=LABELS, ids=IDS):
    return {
        "scores": scores[..., ids],
        "labels": labels,
        "positive": np.take_along_axis(scores, labels[..., None], -1)[..., 0],
        "sampled": ids,
        "log_expected": np.full(len(ids), np.log(SHARE), np.float32),
    }


@pytest.mark.parametrize("where", WHERES.values(), ids=WHERES.keys())
@pytest.mark.parametrize("kind", listwise.LISTWISE)
def test_losses_over_lists_equal_their_formulas(kind, where):
    found = listwise.LISTWISE[kind](**arguments(), where=where)
    expected = reference.over_lists(kind, SCORES, LABELS, IDS, SHARE, where)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def rax_lists(loss):
    """The mean of a loss of rax over lists of the label and the samples that differ from it."""
    rows = [(SCORES[at][LABELS[at]], SCORES[at][IDS[LABELS[at] != IDS]]) for at in np.ndindex(LABELS.shape)]
    return np.mean([float(loss(np.append(own, others), np.eye(1 + len(others))[0])) for own, others in rows])


def lambda_loss(scores, relevance):
    """The sum over pairs: rax takes their mean, times the length of the list."""
    found = rax.pairwise_logistic_loss(scores, relevance, lambdaweight_fn=rax.dcg_lambdaweight)
    return found * (len(scores) - 1) / len(scores)


RAX = {  # its smooth NDCG asks for a module that JAX no longer has
    "listnet": rax.softmax_loss,
    "listmle": lambda scores, relevance: rax.listmle_loss(scores, relevance) / len(scores),
    "lambdarank": lambda_loss,
}


@pytest.mark.parametrize("kind", RAX)
def test_losses_over_lists_equal_those_of_rax(kind):
    np.testing.assert_allclose(listwise.LISTWISE[kind](**arguments()), rax_lists(RAX[kind]), rtol=1e-4)


@pytest.mark.parametrize("kind", [*listwise.LISTWISE, *sampled.SAMPLED])
def test_gradients_are_finite_and_raise_the_label(kind):
    loss = (listwise.LISTWISE | sampled.SAMPLED)[kind]
    labels = np.where(LABELS[0, 0] == LABELS, IDS[1], LABELS)  # one label is among the samples

    def of(positive, scores):
        return loss(**arguments(labels=labels) | {"positive": positive, "scores": scores})

    given = arguments(labels=labels)
    own, others = jax.grad(of, (0, 1))(given["positive"], given["scores"])
    assert np.isfinite(own).all() and np.isfinite(others).all()
    assert (np.asarray(own) <= 1e-7).all() and own.min() < 0
    assert (np.asarray(others)[given["sampled"] == labels[..., None]] == 0).all()
