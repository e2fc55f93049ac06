import math

import numpy as np
import pytest

from rexjax.encoders.tfidf import encode_words, words_of
from rexjax.errors import UserError

TEXTS = [
    "OPI red polish",
    "opi pink polish polish",
    "red lip stick",
    "pink lip stick",
    "",
    "unique",
    "opi lip red-pink",
]
WORDS = 6  # in at least two texts: opi, red, polish, pink, lip, stick


def by_hand(texts: list[str] = TEXTS) -> np.ndarray:
    """TF-IDF [N, words] in float64, written out."""
    tokens = [text.lower().replace("-", " ").split() for text in texts]
    shared_words = sorted({word for words in tokens for word in words if sum(word in other for other in tokens) > 1})
    found = np.zeros((len(texts), len(shared_words)))
    for row, words in enumerate(tokens):
        for column, word in enumerate(shared_words):
            if word in words:
                shared = sum(word in other for other in tokens)
                found[row, column] = (1 + math.log(words.count(word))) * math.log(len(texts) / shared)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


@pytest.mark.parametrize("width", [1, 3, 5])
def test_inner_products_are_the_best_of_rank_width(width):
    vectors, about = encode_words(TEXTS, width)
    assert vectors.shape == (len(TEXTS), width) and vectors.dtype == np.float32
    left, values, right = np.linalg.svd(by_hand(), full_matrices=False)
    best = (left[:, :width] * values[:width]) @ right[:width]
    np.testing.assert_allclose(vectors @ vectors.T, best @ best.T, atol=1e-5)
    assert about["words"] == WORDS
    np.testing.assert_allclose(about["explained"], (values[:width] ** 2).sum() / (values**2).sum(), rtol=1e-5)


def test_a_text_that_shares_no_word_is_zero_and_runs_agree():
    vectors, _ = encode_words(TEXTS, 3)
    np.testing.assert_array_equal(vectors[4:6], 0)
    np.testing.assert_array_equal(vectors, encode_words(TEXTS, 3)[0])


@pytest.mark.parametrize(
    ("texts", "width"), [(TEXTS, 64), (TEXTS, 6), (TEXTS[:2] + TEXTS[-1:], 3), (["a", "b"] * 3, 9)]
)
def test_of_more_directions_than_words_have_all_are_kept(texts, width):
    vectors, about = encode_words(texts, width)
    assert vectors.shape == (len(texts), np.linalg.matrix_rank(by_hand(texts)))
    np.testing.assert_allclose(vectors @ vectors.T, by_hand(texts) @ by_hand(texts).T, atol=1e-5)
    np.testing.assert_allclose(about["explained"], 1, rtol=1e-5)


@pytest.mark.parametrize("texts", [["red mug", "blue cup", ""], ["mug", "mug"]])
def test_texts_that_share_no_word_that_tells_them_apart_are_refused(texts):
    with pytest.raises(UserError, match=f"--encode.tfidf-width 4: no word is in two of the {len(texts)} texts"):
        encode_words(texts, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Red-Mug 2", ["red", "mug", "2"]),
        ("红木椅 A4", ["a4", "红", "木", "椅", "红木", "木椅"]),
        ("ＡＢＣ", ["abc"]),  # full width
        ("हिन्दी कप", ["हिन्दी", "कप"]),  # vowels are marks upon their letter
        ("파란 컵", ["파란", "컵"]),
        ("ไทย", ["ไ", "ท", "ย", "ไท", "ทย"]),
        ("чашка", ["чашка"]),
        ("…!", []),
    ],
)
def test_each_script_has_its_words(text, words):
    assert words_of(text) == words


def test_chinese_titles_that_share_an_attribute_are_alike():
    titles = ["红木椅子", "红木桌子", "蓝色杯子", "蓝色碗", "红木柜", "蓝色盘子"]
    vectors, _ = encode_words(titles, 4)
    alike = vectors @ vectors.T
    assert min(alike[0, 1], alike[0, 4], alike[2, 3]) > 2 * max(alike[0, 3], alike[1, 3], alike[4, 5])


def test_texts_that_are_held_out_are_projected_on_directions_of_the_others():
    texts = ["red mug", "blue mug", "red jug blue", "big red pan pan", "blue pan mug"]
    fitted = np.array([True, True, True, False, True])
    found, about = encode_words(texts, 3, fitted)
    alone, of_fitted = encode_words([text for text, own in zip(texts, fitted, strict=True) if own], 3)
    np.testing.assert_allclose(found[fitted], alone, atol=1e-5)
    assert about["words"] == of_fitted["words"] == 3  # red, mug, blue: "pan" and "jug" are in one fitted text each
    again, _ = encode_words([*texts[:3], "jug jug zebra", texts[4]], 3, fitted)
    np.testing.assert_array_equal(again[fitted], found[fitted])
    assert found[3].any() and (again[3] == 0).all()  # of words that no two fitted texts have nothing is known
