from types import SimpleNamespace

import pytest

from rexjax.errors import UserError, check_least, check_range, check_share

PART = SimpleNamespace(few=0, many=3, share=0.2, whole=1.0, text="3", bad=-0.1)


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (lambda: check_least(PART, "shop", 1, "many", "few"), "shop has few=0: set few to 1 or more"),
        (lambda: check_least(PART, "shop", 4, "many"), "shop has many=3: set many to 4 or more"),
        (lambda: check_share(PART, "shop", "whole"), "shop has whole=1.0: set whole to a share from 0 to below 1"),
        (lambda: check_share(PART, "shop", "share", "bad"), "shop has bad=-0.1: set bad to a share from 0 to below 1"),
        (
            lambda: check_range(PART, "shop", "an odd number", lambda n: n % 2 == 1, "few"),
            "shop has few=0: set few to an odd number",
        ),
    ],
)
def test_the_first_that_does_not_fit_is_named_with_what_would(check, sentence):
    with pytest.raises(UserError) as found:
        check()
    assert str(found.value) == sentence


def test_what_fits_passes_and_what_is_no_number_is_left_to_the_check_of_types():
    check_least(PART, "shop", 0, "few", "many", "share")
    check_share(PART, "shop", "few", "share")
    assert check_least(PART, "shop", 100, "text") is None
