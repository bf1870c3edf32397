"""Charts that several lessons use: a matrix with its numbers, and distributions as bars."""

from collections.abc import Sequence

import numpy as np

from .style import WEIGHT, WORDS, as_array, ink


def heatmap(matrix, rows, columns, ax=None, title="", xlabel="", ylabel="", limits=(0.0, 1.0), decimals=2, cmap=None):
    """Draw a matrix (n_rows, n_columns) with its numbers; returns the axes.

    Purple for limits that start at 0, otherwise orange below the middle and purple above it. `decimals=None` leaves the
    numbers out. A color bar stands beside a matrix that has the figure to itself, or that has no numbers; a table of
    yes and no (`decimals=0`) needs none.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    matrix, bar = as_array(matrix), decimals is None or (ax is None and decimals > 0)
    ax = ax or plt.subplots(figsize=(4.2, 3.4), layout="compressed")[1]  # for squares
    sns.heatmap(
        matrix, ax=ax, vmin=limits[0], vmax=limits[1], cmap=cmap or ("Purples" if limits[0] == 0 else "PuOr"),
        annot=decimals is not None, fmt=f".{decimals or 0}f", annot_kws={"size": 11}, cbar=bar,
        xticklabels=columns, yticklabels=rows, square=True, linewidths=1.5, linecolor="white",
    )  # fmt: skip
    for cell, color in zip(ax.texts, ax.collections[0].get_facecolors(), strict=False):
        cell.set_color(ink(color[:3]))
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.tick_params(axis="x", rotation=0, length=0)
    ax.tick_params(axis="y", rotation=0, length=0)
    return ax


def heatmaps(tables: dict, rows, columns, xlabel="", ylabel="", **how):
    """Tables of the same words side by side, {title: matrix}, each as in `heatmap`; returns the figure."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(tables), figsize=(6.8, 3.1))
    for ax, (title, matrix) in zip(axes, tables.items(), strict=True):
        heatmap(matrix, rows, columns, ax, title, xlabel, **how)
    axes[0].set_ylabel(ylabel)
    return fig


def softmax_rows(rows: dict, labels: Sequence[str], title: str = "d = {}"):
    """Bars in a grid: a column per key of `rows`, a row per label; rows[key] has one distribution each."""
    import matplotlib.pyplot as plt

    size = (6.8, 0.8 + 1.5 * len(labels))
    fig, axes = plt.subplots(len(labels), len(rows), figsize=size, sharex=True, sharey=True, squeeze=False)
    for column, (key, distributions) in enumerate(rows.items()):
        for row, (label, values) in enumerate(zip(labels, distributions, strict=True)):
            ax, values = axes[row, column], as_array(values)
            keys = np.arange(1, len(values) + 1)
            ax.bar(keys, values, color=WEIGHT)
            ax.set(ylim=(0, 1), yticks=(0, 0.5, 1), xticks=keys)
            ax.tick_params(axis="x", length=0, labelsize=9)
            if row == 0:
                ax.set_title(title.format(key))
            if column == 0:
                ax.set_ylabel(f"weight\n({label})" if label else "weight", fontsize=10)
    fig.supxlabel("key", fontsize=11)
    return fig


def label_lines(ax) -> None:
    """Instead of a legend: the name of each line at its right end, in its color, none upon another."""
    lines = sorted((line for line in ax.lines if line.get_label()[0] != "_"), key=lambda line: line.get_ydata()[-1])
    ax.figure.canvas.draw()
    lowest = -np.inf  # in points
    for line in lines:
        end = line.get_xydata()[-1]
        height = ax.transData.transform(end)[1] * 72 / ax.figure.dpi
        above = max(height, lowest + 13)
        lowest = above
        ax.annotate(
            line.get_label(), end, (6, above - height), textcoords="offset points", va="center", annotation_clip=False,
            color=WORDS.get(line.get_color(), line.get_color()), fontsize=10,
        )  # fmt: skip
