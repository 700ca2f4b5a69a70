"""The plots, by matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contests import ROADS
from benchmarks.rows import Row

_OURS, _OTHERS = "#0b6e4f", "#9aa5b1"
_STYLE = {"svg.hashsalt": "persistconn", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_LINES = ("-", "--")
_FASTEST = 3.0
"""Ratios beyond are cut off: what needs no round trip at all is faster by orders of magnitude."""


def draw(rows: Sequence[Row], directory: Path) -> list[str]:
    """Write a file for each plot; returns their paths, from the directory above."""
    import matplotlib as mpl

    mpl.use("Agg")
    directory.mkdir(exist_ok=True)
    with mpl.rc_context(_STYLE):
        return [_save(figure, directory / f"{name}.svg") for name, figure in _figures({row.name: row for row in rows})]


def _figures(rows: Mapping[str, Row]) -> Iterator[tuple[str, Any]]:
    contests = [rows[name] for name in ("reads", "django", "writes") if name in rows]
    if contests:
        yield "throughput", _bars(contests, "rate", "tasks/s, as a ratio to the first")
        yield "latency", _bars(contests, "added", "us that a task takes longer than the first, one thread")
    if "trips" in rows:
        yield "round-trips", _one("round trips of a task", rows["trips"].series["trips"])
    if "growth" in rows:
        yield "growth", _growth(rows["growth"].series)


def _bars(contests: Sequence[Row], figure: str, label: str) -> Any:
    from matplotlib import pyplot as plt

    roads = list(ROADS)
    heights = [len(next(iter(row.series.values()))) for row in contests]
    drawn, grid = plt.subplots(
        len(contests),
        len(roads),
        figsize=(11, sum(heights) * 0.28 + 2),
        height_ratios=heights,
        squeeze=False,
        sharey="row",
        layout="constrained",
    )
    for row, axes in zip(contests, grid, strict=True):
        for road, axis in zip(roads, axes, strict=True):
            _bar(axis, row.series.get(f"{figure} {road}", {}))
            if figure == "rate":
                axis.set_xlim(right=min(axis.get_xlim()[1], _FASTEST))
            axis.set_title(ROADS[road], fontsize=8)
        axes[0].set_title(f"{row.title.replace('`', '')}\n{ROADS[roads[0]]}", fontsize=8, loc="left")
        axes[0].set_title("", loc="center")
    for axis in grid[-1]:
        axis.set_xlabel(label)
    return drawn


def _one(label: str, values: Mapping[str, float]) -> Any:
    from matplotlib import pyplot as plt

    drawn, axis = plt.subplots(figsize=(8, len(values) * 0.28 + 1), layout="constrained")
    _bar(axis, values)
    axis.set_xlabel(label)
    return drawn


def _bar(axis: Any, values: Mapping[str, float]) -> None:
    names = [name.replace("`", "") for name in values]
    ours = ("manage", "persistconn", "@job")
    colours = [_OURS if name.startswith(ours) else _OTHERS for name in names]
    bars = axis.barh(names, list(values.values()), color=colours)
    axis.bar_label(bars, fmt="{:.3g}", padding=2, fontsize=7)
    axis.set_ylim(len(names) - 0.5, -0.5)  # The first on top; inverting would turn axes that are shared twice.
    axis.tick_params(axis="y", length=0)


def _growth(series: Mapping[str, Mapping[str, float]]) -> Any:
    from matplotlib import pyplot as plt

    drawn, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    for (name, curve), line, colour in zip(series.items(), _LINES, (_OTHERS, _OURS), strict=True):
        axis.plot(
            [int(size) for size in curve],
            list(curve.values()),
            line,
            color=colour,
            marker="o",
            label=name.replace("`", ""),
        )
    sizes = [int(size) for size in next(iter(series.values()))]
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.set_ylim(bottom=0)
    axis.set_xlabel("threads")
    axis.set_ylabel("us for each task (1 / tasks per second)")
    axis.legend(frameon=False)
    return drawn


def _save(figure: Any, path: Path) -> str:
    from matplotlib import pyplot as plt

    # Without the date, so that the file changes only where a figure has.
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return f"{path.parent.name}/{path.name}"
