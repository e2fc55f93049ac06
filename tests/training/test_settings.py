import pytest

from rexjax.config import Training
from rexjax.training import settings


@pytest.mark.parametrize(
    ("rows", "devices", "batch"),
    [
        (50, 1, 8),  # at least 8
        (399, 1, 8),
        (600, 1, 600 // 50),
        (2399, 1, 47),
        (10**6, 1, 48),  # at most 48
        (600, 8, 8),  # a multiple of the devices
        (900, 8, 16),
        (10**6, 64, 64),  # a row a device where a batch has fewer
    ],
)
def test_an_open_batch_is_a_fiftieth_of_an_epochs_rows(rows, devices, batch):
    found = settings.with_batch(Training(learning_rate=0.5), rows, devices)
    assert found == Training(learning_rate=0.5, batch=batch) and found.batch % devices == 0


def test_a_batch_that_is_said_stays():
    assert settings.with_batch(Training(batch=5), 10**6, 8) == Training(batch=5)


@pytest.mark.parametrize(
    ("steps", "epochs", "warmup"),
    [
        (1, 100, 5),  # at most 100 epochs
        (30, 100, 100),
        (70, 43, 100),  # 3,000 steps, rounded up
        (300, 10, 100),
        (3000, 10, 100),  # at least 10 epochs
    ],
)
def test_open_epochs_aim_at_three_thousand_steps(steps, epochs, warmup):
    assert settings.with_steps(Training(), steps) == Training(epochs=epochs, warmup=warmup)


@pytest.mark.parametrize(
    ("epochs", "steps", "warmup"), [(1, 3, 1), (2, 30, 3), (7, 20, 7), (20, 100, 100), (50, 1000, 100)]
)
def test_an_open_warm_up_is_a_twentieth_of_all_steps_and_at_most_a_hundred(epochs, steps, warmup):
    assert settings.with_steps(Training(epochs=epochs), steps).warmup == warmup


@pytest.mark.parametrize("asked, expected", [(0, 0), (70, 70), (-1, 4 * 3)])
def test_a_decay_over_all_epochs_counts_their_steps(asked, expected):
    given = Training(epochs=4, warmup=2, decay_steps=asked)
    assert settings.with_steps(given, 3) == Training(epochs=4, warmup=2, decay_steps=expected)


def test_a_decay_over_open_epochs_counts_those_that_were_chosen():
    assert settings.with_steps(Training(decay_steps=-1), 300).decay_steps == 10 * 300
