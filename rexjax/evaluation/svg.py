"""Pictures as SVG text that takes its ink from the page, so that they suit light and dark pages."""

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rexjax.evaluation.pictures import spread_labels

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 720, 64, 190, 34, 46
"""Of a picture, and the margins of its axes, in units of the view box; names stand in the right margin."""
STYLE = """
svg text { font: 13px system-ui, sans-serif; fill: currentColor; }
svg .title { font-weight: 600; }
svg .grid { stroke: currentColor; stroke-opacity: .16; }
svg .axis, svg .front { stroke: currentColor; stroke-opacity: .5; fill: none; }
"""
Point = tuple[float, float]
Spell = Callable[[float], str]
_MARKS = {
    "circle": "M{x} {y}m-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "ring": "M{x} {y}m-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0zm2.5 0a2.5 2.5 0 1 1 5 0a2.5 2.5 0 1 1 -5 0z",
    "diamond": "M{x} {y}m0 -6.5l6.5 6.5l-6.5 6.5l-6.5 -6.5z",
    "square": "M{x} {y}m-4.5 -4.5h9v9h-9z",
    "triangle": "M{x} {y}m0 -6l6 10.5h-12z",
}


@dataclass(frozen=True)
class Axis:
    """Values to places along one side of a picture."""

    low: float
    high: float
    start: float
    end: float
    label: str = ""
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies."""
        low, high, at = (math.log10(x) if self.log else x for x in (self.low, self.high, value))
        return round(self.start + (self.end - self.start) * (at - low) / ((high - low) or 1), 1)

    def ticks(self) -> list[float]:
        """Round values within the axis."""
        return _decades(self.low, self.high) if self.log else _steps(self.low, self.high)


def _decades(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    span = math.log10(high / low)
    digits = (1,) if span > 2 else (1, 2, 5) if span > 0.6 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    step = math.ceil(span / 7) if span > 2 else 1
    values = [digit * 10.0**power for power in powers if power % step == 0 for digit in digits]
    return [value for value in values if low <= value <= high]


def _steps(low: float, high: float, most: int = 6) -> list[float]:
    rough = ((high - low) or 1) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 2.5, 5, 10) if power * digit >= rough)
    return [round(step * n, 12) for n in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]


def number(value: float | None) -> str:
    """A number as three digits and k, M, G or T, such as "1.5 k"; a dash for None."""
    if value is None:
        return "–"
    size = min(max(int(math.log10(abs(value)) // 3), 0), 4) if value else 0
    unit = ("", " k", " M", " G", " T")[size]
    return f"{value / 1000**size:.3g}{unit}" if abs(value) < 1e15 else f"{value:.3g}"


def horizontal(low: float, high: float, label: str, *, log: bool = False, right: float = RIGHT) -> Axis:
    """The axis below a picture."""
    return Axis(low, high, LEFT, WIDTH - right, label, log)


def vertical(low: float, high: float, label: str, height: float, *, log: bool = False) -> Axis:
    """The axis on the left of a picture."""
    return Axis(low, high, height - BOTTOM, TOP, label, log)


def picture(title: str, height: float, parts: Iterable[str]) -> str:
    """An SVG element; its title stands in it and is read out by screen readers."""
    name = html.escape(title)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{name}">\n<title>{name}</title>\n'
        f'<text class="title" x="8" y="18">{name}</text>\n' + "\n".join(parts) + "\n</svg>"
    )


def document(svg: str) -> str:
    """A picture as a file of its own, that follows the reader's light or dark theme."""
    theme = ":root { color: #222; } @media (prefers-color-scheme: dark) { :root { color: #ddd; } }"
    head = '<svg xmlns="http://www.w3.org/2000/svg"'
    return svg.replace("<svg", head, 1).replace("<title>", f"<style>{theme}{STYLE}</style>\n<title>", 1) + "\n"


def axes(x: Axis, y: Axis, spell_x: Spell = number, spell_y: Spell = number) -> list[str]:
    """Grid, ticks and labels."""
    parts = []
    for value in x.ticks():
        at = x.place(value)
        parts.append(f'<path class="grid" d="M{at} {y.start}V{y.end}"/>')
        parts.append(f'<text x="{at}" y="{y.start + 17}" text-anchor="middle">{spell_x(value)}</text>')
    for value in y.ticks():
        at = y.place(value)
        parts.append(f'<path class="grid" d="M{x.start} {at}H{x.end}"/>')
        parts.append(f'<text x="{x.start - 7}" y="{at + 4}" text-anchor="end">{spell_y(value)}</text>')
    parts.append(f'<path class="axis" d="M{x.start} {y.end}V{y.start}H{x.end}"/>')
    middle = (x.start + x.end) / 2
    parts.append(f'<text x="{middle:g}" y="{y.start + 37}" text-anchor="middle">{html.escape(x.label)}</text>')
    if y.label:
        parts.append(f'<text x="{x.end:g}" y="{y.end - 6:g}" text-anchor="end">{html.escape(y.label)}</text>')
    return parts


def mark(kind: str, x: float, y: float, colour: str) -> str:
    """A marker."""
    return f'<path fill="{colour}" fill-rule="evenodd" d="{_MARKS[kind].format(x=x, y=y)}"/>'


def line(points: Sequence[Point], x: Axis, y: Axis, colour: str) -> str:
    """A line through points."""
    path = "L".join(f"{x.place(a)} {y.place(b)}" for a, b in points)
    return f'<path fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round" d="M{path}"/>'


def steps(points: Sequence[Point], x: Axis, y: Axis) -> str:
    """A stair through points: level until the next one."""
    (first, *others) = [(x.place(a), y.place(b)) for a, b in points]
    return f'<path class="front" d="M{first[0]} {first[1]}' + "".join(f"H{a}V{b}" for a, b in others) + '"/>'


def names(wanted: Mapping[str, Point], colours: Mapping[str, str], x: float, y: Axis) -> list[str]:
    """Names in a column at ``x``, moved apart, each with a thin line to its point (places of the picture)."""
    ranked = sorted(wanted, key=lambda name: wanted[name][1])
    height = y.start - y.end
    shares = [min(max((wanted[name][1] - y.end) / height, 0.0), 1.0) for name in ranked]
    parts = []
    for name, share in zip(ranked, spread_labels(shares, 17 / height), strict=True):
        (a, b), at, colour = wanted[name], y.end + share * height, colours[name]
        parts.append(f'<path fill="none" stroke="{colour}" stroke-opacity=".6" d="M{a} {b}L{x - 4:g} {at:.1f}"/>')
        label = f'<text x="{x:g}" y="{at + 4:.1f}" style="fill:{colour}">{html.escape(shorten(name))}</text>'
        parts.append(label)
    return parts


def shorten(name: str, most: int = 24) -> str:
    """A name that fits the right margin."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def bar(low: float, middle: float, high: float, axis: Axis, colour: str, zero: bool = False) -> str:
    """An interval and its middle, as high as a line of text."""
    a, b, c = (axis.place(value) for value in (low, middle, high))
    across = f'<path class="axis" d="M{axis.place(0)} 0V16"/>' if zero else ""
    return (
        f'<svg class="bar" viewBox="0 0 {axis.end + 6:g} 16" width="{axis.end + 6:g}" height="16" aria-hidden="true">'
        f'{across}<path stroke="{colour}" stroke-width="3" d="M{a} 8H{c}"/>'
        f'<circle cx="{b}" cy="8" r="4.5" fill="{colour}"/></svg>'
    )


def bars(edges: Sequence[float], counts: Sequence[float], x: Axis, y: Axis, colour: str) -> list[str]:
    """A histogram."""
    parts = []
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        a, b, top = x.place(low), x.place(high), y.place(count)
        width, height = max(b - a - 1, 0.5), max(y.start - top, 0)
        parts.append(f'<rect x="{a}" y="{top}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>')
    return parts
