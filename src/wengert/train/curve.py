"""The learning curve as an SVG picture: loss and score after each epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from wengert.data.errors import counted
from wengert.train.metrics import Epoch

_STYLE = """
  .page { fill: #ffffff; }
  text { fill: #24292f; font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; }
  .title { font-size: 14px; font-weight: 600; }
  .quiet { fill: #57606a; }
  .grid { stroke: #d8dee4; stroke-width: 1; }
  .axis { stroke: #57606a; stroke-width: 1; }
  .best { stroke: #57606a; stroke-width: 1; stroke-dasharray: 2 3; }
  .train, .validation { fill: none; stroke-width: 2; stroke-linejoin: round; }
  .train { stroke: #0969da; }
  .validation { stroke: #bc4c00; stroke-dasharray: 6 3; }
  circle.train { fill: #0969da; stroke: none; }
  circle.validation { fill: #bc4c00; stroke: none; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; }
    text { fill: #e6edf3; }
    .quiet { fill: #9198a1; }
    .grid { stroke: #30363d; }
    .axis, .best { stroke: #9198a1; }
    .train { stroke: #58a6ff; }
    .validation { stroke: #f0883e; }
    circle.train { fill: #58a6ff; }
    circle.validation { fill: #f0883e; }
  }
"""
_WIDTH, _HEIGHT = 860, 372
_TOP, _BOTTOM = 90, 316
_LOWEST_R2 = -1.0
_MOST_X_TICKS = 8
_Y_TICKS = 5


@dataclass(frozen=True)
class _Axis:
    """A straight scale from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the pixel of a value; values outside are put on the border."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def curve_svg(
    history: Sequence[Epoch], best: int, title: str, loss_name: str, score_name: str
) -> str:
    """Draw loss and score of training and validation rows against the epoch.

    Parameters
    ----------
    history : sequence of Epoch
        At least one epoch.
    best : int
        The epoch whose weights are kept; it is marked.
    title : str
        The heading.
    loss_name, score_name : str
        What loss and score are called; an ``accuracy`` is shown in percent.

    Returns
    -------
    str
        An SVG document that follows the reader's light or dark colour scheme.
    """
    percent = 100.0 if score_name == "accuracy" else 1.0
    score_title = f"{score_name} in %" if percent > 1 else score_name
    losses = ([each.train.loss for each in history], [each.validation.loss for each in history])
    scores = (
        [each.train.score * percent for each in history],
        [each.validation.score * percent for each in history],
    )
    last = history[-1].number
    summary = (
        f"{title}: after {counted(last, 'epoch')} the validation {loss_name} is "
        f"{history[-1].validation.loss:.4g}; the weights of epoch {best} are kept."
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            f'width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-labelledby="title summary">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="summary">{escape(summary)}</desc>',
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{_WIDTH}" height="{_HEIGHT}"/>',
            f'<text class="title" x="24" y="28">{escape(title)}</text>',
            *_legend(best),
            *_panel(loss_name, losses, (64.0, 410.0), last, best, (0.0, math.inf)),
            *_panel(score_title, scores, (500.0, 836.0), last, best, (_LOWEST_R2, percent)),
            "</svg>\n",
        ]
    )


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values that cover a range, at most about `most` of them.

    Parameters
    ----------
    low, high : float
        The range, ``low < high``.
    most : int
        How many steps are wanted at most.

    Returns
    -------
    list of float
        Multiples of 1, 2 or 5 times a power of ten; the first is at most `low`, the last at least
        `high`.

    Examples
    --------
    >>> ticks(0.0, 2.3, 5)
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _legend(best: int) -> list[str]:
    """Return the legend line under the title."""
    return [
        '<line class="train" x1="24" y1="46" x2="54" y2="46"/>',
        '<text x="60" y="50">training rows</text>',
        '<line class="validation" x1="156" y1="46" x2="186" y2="46"/>',
        '<text x="192" y="50">validation rows</text>',
        '<line class="best" x1="298" y1="38" x2="298" y2="54"/>',
        f'<text x="306" y="50">epoch {best}: the weights kept</text>',
    ]


def _panel(
    name: str,
    series: tuple[list[float], list[float]],
    sides: tuple[float, float],
    epochs: int,
    best: int,
    limits: tuple[float, float],
) -> list[str]:
    """Return one diagram: grid, axes, the mark of the best epoch, and two lines."""
    left, right = sides
    steps = _value_ticks([*series[0], *series[1]], limits)
    across = _Axis(1.0, epochs, left, right) if epochs > 1 else _Axis(0.0, 2.0, left, right)
    up = _Axis(steps[0], steps[-1], _BOTTOM, _TOP)
    parts = [_text(left, _TOP - 10, name, "start")]
    for value in steps:
        y = up.place(value)
        parts.append(_rule("grid", (left, y), (right, y)))
        parts.append(_text(left - 8, y + 4, f"{value:g}", "end"))
    for epoch in _epoch_ticks(epochs):
        x = across.place(epoch)
        parts.append(_rule("axis", (x, _BOTTOM), (x, _BOTTOM + 5)))
        parts.append(_text(x, _BOTTOM + 20, str(epoch), "middle"))
    mark = across.place(best)
    parts += [
        _rule("axis", (left, _BOTTOM), (right, _BOTTOM)),
        _text((left + right) / 2, _BOTTOM + 40, "epoch", "middle"),
        _rule("best", (mark, _TOP), (mark, _BOTTOM)),
    ]
    for values, css in zip(series, ("train", "validation"), strict=True):
        parts.append(_line(values, css, across, up))
    return parts


def _text(x: float, y: float, content: str, anchor: str) -> str:
    """Return a quiet label."""
    words = escape(content)
    return f'<text class="quiet" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _rule(css: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return a straight line."""
    (x1, y1), (x2, y2) = start, end
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _line(values: list[float], css: str, across: _Axis, up: _Axis) -> str:
    """Return one series as a line, or as a dot if there is one epoch only."""
    points = [
        (across.place(epoch), up.place(value))
        for epoch, value in enumerate(values, start=1)
        if math.isfinite(value)
    ]
    if len(points) == 1:
        return f'<circle class="{css}" cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="4"/>'
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{css}" points="{joined}"/>'


def _value_ticks(values: list[float], limits: tuple[float, float]) -> list[float]:
    """Return the ticks of an upright axis that shows all values within the limits."""
    finite = [min(max(value, limits[0]), limits[1]) for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    if limits[1] == math.inf:
        low = 0.0
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    return ticks(low, high, _Y_TICKS)


def _epoch_ticks(epochs: int) -> list[int]:
    """Return the epochs to number: the first, the last, and round ones between."""
    if epochs == 1:
        return [1]
    step = max(1, math.ceil(ticks(0, epochs, _MOST_X_TICKS)[1]))
    between = [epoch for epoch in range(step, epochs, step) if step / 2 <= epochs - epoch]
    return sorted({1, *(epoch for epoch in between if epoch > step / 2 + 0.5 or step == 1), epochs})
