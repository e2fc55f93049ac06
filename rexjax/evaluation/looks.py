"""How a model looks in every picture: one colour a model, one marker a kind of model."""

from collections.abc import Iterable

FIXED = {"teacher": "#3b7dd8", "student": "#d9731a", "student_control": "#a1609e"}
"""Models that every run has, and their colours, which show on white and on black."""
PALETTE = ("#2e9e6b", "#c94f5d", "#9a8a1f", "#2a9db0", "#8b6fd0", "#b5702f", "#6f8f2f", "#c2578f", "#6d7f93", "#4f93c9")
"""Colours of all others, in their order."""
COMPRESSED = "student_"
MARKERS = {"teacher": "diamond", "student": "circle", "student_control": "ring"}
MATPLOTLIB = {"diamond": "D", "circle": "o", "ring": "P", "triangle": "^", "square": "s"}
"""Matplotlib's names of the markers."""


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each model, hexadecimal; that of an unknown name follows from its place among the unknown ones."""
    names = list(names)
    others = [name for name in names if name not in FIXED]
    chosen = {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(others)}
    return {name: FIXED.get(name) or chosen[name] for name in names}


def marker(name: str) -> str:
    """The marker of a model's kind: teacher, student, control, compressed student, or a simple model."""
    return MARKERS.get(name) or ("triangle" if name.startswith(COMPRESSED) else "square")
