import numpy as np
import safetensors.numpy

from rexjax.serving.comparison import Compared


def test_it_gives_as_many_as_are_asked_for_and_none_that_may_not_be():
    weights = {"scores": np.asarray([0.5, 0.25, -np.inf], np.float32)}
    asked = []

    def program(weights, history, exclude):
        asked.append((history.tolist(), exclude.tolist()))
        return weights["scores"][None], np.asarray([[7, 9, 3]])

    model = Compared("teacher", 12, safetensors.numpy.save(weights), program)
    history = np.asarray([[-1, 3]], np.int32)
    assert model.answer(history, 1) == ([7], [0.5])
    assert model.answer(history, 20) == ([7, 9], [0.5, 0.25])
    assert asked[0] == ([[-1, 3]], [[-1, 3]]) and model.bytes_resident == 12
