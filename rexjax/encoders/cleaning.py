"""Item texts without what nobody reads: HTML tags and entities, control characters, runs of blanks."""

import html
import re

_HIDDEN = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</?[a-z][a-z0-9]*(\s[^<>]*)?/?>", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff]+")
_BLANKS = re.compile(r"\s+")


def clean_text(text: str) -> str:
    """The words of ``text``; what a tag separated stays apart.

    >>> clean_text("Tea &amp; coffee<br/>set\\x07 <b>blue</b>, size < 5")
    'Tea & coffee set blue, size < 5'
    """
    if "<" in text:
        text = _TAG.sub(" ", _HIDDEN.sub(" ", text))
    if "&" in text:
        text = html.unescape(text)
    return _BLANKS.sub(" ", _CONTROL.sub(" ", text)).strip()


def clean_texts(texts: list[str]) -> tuple[list[str], int]:
    """Cleaned texts, and how many lost more than blanks at their ends or within."""
    cleaned = [clean_text(text) for text in texts]
    return cleaned, sum(new != " ".join(old.split()) for new, old in zip(cleaned, texts, strict=True))
