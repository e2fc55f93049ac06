"""Metrics of logits against labels, on the host."""

import numpy as np


def auc(logits: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve: the share of pairs of a 1 and a 0 that stand in order; ties count half.

    Args:
        logits: float [E].
        labels: 0 or 1, [E].

    Raises:
        ValueError: labels of one kind alone.

    >>> import numpy as np
    >>> auc(np.asarray([0.1, 0.4, 0.4, 0.8]), np.asarray([0, 0, 1, 1]))
    0.875
    """
    positive = np.asarray(labels) > 0.5
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        raise ValueError(f"AUC needs both kinds of labels, and there are {ones} ones and {zeros} zeros")
    _, inverse, counts = np.unique(logits, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[inverse][positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy in nats of labels in [0, 1], [E], of logits [E].

    >>> import numpy as np
    >>> round(log_loss(np.zeros(2), np.asarray([0, 1])), 4)  # log 2
    0.6931
    """
    logits = np.asarray(logits, np.float64)
    return float((np.logaddexp(0, logits) - np.asarray(labels) * logits).mean())


def rmse(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Root of the mean squared error.

    >>> import numpy as np
    >>> rmse(np.asarray([1.0, 5.0]), np.asarray([4.0, 8.0]))
    3.0
    """
    return float(np.sqrt(np.mean((np.asarray(predictions, np.float64) - labels) ** 2)))
