import pytest

from rexjax.encoders.cleaning import clean_text, clean_texts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  plain\ttitle ", "a plain title"),
        ("<p>Tea<br>pot</p>", "Tea pot"),
        ("<!-- hidden --><script>var x = '<b>';</script>Mug<style>b {}</style>", "Mug"),
        ("Tea &amp; coffee, 5&quot; &#233;", 'Tea & coffee, 5" é'),
        ("1 < 2 > 0, i <3 u, x<y", "1 < 2 > 0, i <3 u, x<y"),
        ("zero\x00byte, zero\u200bwidth, \u202eturned", "zero byte, zero width, turned"),
        ("&lt;b&gt; is a tag", "<b> is a tag"),
        ("", ""),
    ],
)
def test_words_are_left(text, words):
    assert clean_text(text) == words


def test_only_texts_that_lost_something_are_counted():
    assert clean_texts(["plain", " with  blanks ", "<i>tag</i>", "a &amp; b"]) == (
        ["plain", "with blanks", "tag", "a & b"],
        2,
    )
