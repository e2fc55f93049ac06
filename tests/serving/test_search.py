import pytest

from rexjax.serving import search as searches
from rexjax.serving.search import Search

TITLES = ["Red Lamp", "blue  lamp", "Straße & Söhne", "red", "", "a\nb"]
IDS = ["sku-1", "sku-2", "sku-3", "lamp", "İ5", "sku-6"]
ORDER = [3, 1, 0, 5, 4, 2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ORDER),
        ("  ", ORDER),
        ("lamp", [3, 1, 0]),  # by id, by title
        ("RED", [3, 0]),
        ("blue lamp", [1]),
        ("STRASSE", [2]),
        ("söhne", [2]),
        ("a b", [5]),
        ("a\nb", [5]),
        ("p\nsku", []),  # no text reaches over the end of a title
        ("lamp sku", []),
        ("sku-", [1, 0, 5, 2]),
        ("nothing", []),
    ],
)
@pytest.mark.parametrize("together", [1, 2, 100])
def test_items_that_hold_a_text_in_any_case_in_their_order(text, found, together, monkeypatch):
    monkeypatch.setattr(searches, "ITEMS_PER_PIECE", together)
    search = Search(TITLES, IDS, ORDER)
    assert search.find(text, 10) == found and search.find(text, 2) == found[:2]


def test_an_item_is_found_once_and_an_empty_catalogue_has_none():
    assert Search(["aaa aaa"], ["aaa"], [0]).find("a", 5) == [0]
    assert Search([], [], []).find("a", 5) == Search([], [], []).find("", 5) == []
