"""Conditions on rows of a log, as ``--data.where`` writes them: ``quantity > 0 and country = 'France'``."""

import operator
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from rexjax.errors import UserError

if TYPE_CHECKING:
    from ibis.expr.types import BooleanValue, Table

OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TOKEN = re.compile(
    r"""(?P<blank>\s+)
    |(?P<number>[+-]?(?:[0-9]+[.]?[0-9]*|[.][0-9]+)(?:[eE][+-]?[0-9]+)?(?!\w))
    |(?P<text>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")+")
    |(?P<word>[^\W\d]\w*)
    |(?P<operator>[=!<>]+)
    |(?P<other>.)""",
    re.VERBOSE,
)


class Condition(NamedTuple):
    """One comparison of a column with a literal."""

    column: str
    """As the log's file calls it."""
    operator: str
    """A key of ``OPERATORS``."""
    value: int | float | str
    """The literal."""
    position: int
    """Where the comparison begins in the text, from 1."""


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


def parse(text: str) -> tuple[Condition, ...]:
    """The conditions of ``text``, all of which must hold; none where it is blank.

    Args:
        text: comparisons joined by ``and``: a column (in double quotes where its name has blanks), an operator
            (= != < <= > >=), and a number or 'text'.

    Raises:
        UserError: the text is of another form; the sentence names the position.

    >>> parse("quantity > 0 and \\"ship to\\" != 'FR'")[1]
    Condition(column='ship to', operator='!=', value='FR', position=18)
    """
    if not text.strip():
        return ()
    tokens, found = _tokens(text), []
    while True:
        found.append(_comparison(tokens, text))
        joint = next(tokens)
        if joint.kind == "end":
            return tuple(found)
        if joint.kind != "word" or joint.text.lower() != "and":
            raise _misread(text, joint, "'and' or the end")


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "blank":
            yield _Token(str(match.lastgroup), match.group(), match.start() + 1)
    while True:
        yield _Token("end", "", len(text) + 1)


def _comparison(tokens: Iterator[_Token], text: str) -> Condition:
    column, sign, literal = next(tokens), next(tokens), next(tokens)
    if column.kind not in ("word", "quoted"):
        raise _misread(text, column, 'a column (in double quotes where its name has blanks, as in "unit price")')
    if sign.text not in OPERATORS:
        raise _misread(text, sign, f"an operator ({' '.join(OPERATORS)})")
    if literal.kind not in ("number", "text"):
        raise _misread(text, literal, "a number or a 'text' in single quotes")
    name = column.text if column.kind == "word" else column.text[1:-1].replace('""', '"')
    return Condition(name, sign.text, _value(literal), column.position)


def _value(literal: _Token) -> int | float | str:
    if literal.kind == "text":
        return literal.text[1:-1].replace("''", "'")
    return int(literal.text) if literal.text.lstrip("+-").isdecimal() else float(literal.text)


def _misread(text: str, token: _Token, needed: str) -> UserError:
    there = "it ends" if token.kind == "end" else f"it has {token.text!r}"
    return UserError(f"--data.where {text!r}: {there} at position {token.position}: write {needed} there")


def columns_of(log: "Table", text: str) -> dict[str, Any]:
    """The compared columns of ``log``, named ``where_0``, ``where_1`` … in the order of ``parse(text)``.

    Missing text is ''.

    Raises:
        UserError: columns are missing, or are of another type than the literal; all of them are named.
    """
    conditions = parse(text)
    if wrong := [reason for condition in conditions if (reason := _clash(log, condition))]:
        raise UserError(f"--data.where {text!r}: {'; '.join(wrong)}")
    return {f"where_{number}": _compared(log, condition) for number, condition in enumerate(conditions)}


def _compared(log: "Table", condition: Condition) -> Any:
    column = log[condition.column]
    return column.cast("string").fill_null("") if isinstance(condition.value, str) else column


def _clash(log: "Table", condition: Condition) -> str:
    name, at = condition.column, f"at position {condition.position}"
    if name not in log.columns:
        return f"the log has no column {name!r} {at} (it has {', '.join(log.columns)})"
    kind, textual = log[name].type(), isinstance(condition.value, str)
    if textual and kind.is_numeric() and not kind.is_boolean():
        return f"column {name!r} {at} holds numbers ({kind}): write the number without quotes"
    if not textual and not kind.is_numeric() and not kind.is_string() or not textual and kind.is_boolean():
        return f"column {name!r} {at} holds no numbers ({kind}): compare it with a 'text' in single quotes"
    if textual and not kind.is_string() and not kind.is_boolean():
        return f"column {name!r} {at} holds neither numbers nor text ({kind}): compare another column"
    return ""


def holds(log: "Table", conditions: tuple[Condition, ...]) -> "BooleanValue":
    """Whether all conditions hold, from the columns ``where_0`` … of ``log``, of which null is a missing value.

    A missing number differs from every literal (``!=`` holds) and is neither more nor less.
    """
    each = [_holds(log[f"where_{number}"], condition) for number, condition in enumerate(conditions)]
    whole = each[0]
    for other in each[1:]:
        whole &= other
    return whole


def _holds(column: Any, condition: Condition) -> "BooleanValue":
    compared = OPERATORS[condition.operator](column, condition.value)
    return compared.fill_null(condition.operator == "!=")
