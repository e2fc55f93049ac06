"""One evaluator for every model, the interval of every difference, the cost of every answer."""
