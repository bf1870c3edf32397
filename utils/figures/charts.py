"""Charts that several lessons use: a matrix with its numbers, and distributions as bars."""

from collections.abc import Sequence

import numpy as np

from .style import BLUE, ORANGE, as_array


def heatmap(matrix, rows, columns, ax=None, title="", xlabel="", ylabel="", limits=(0.0, 1.0), decimals=2, cmap=None):
    """Draw a matrix (n_rows, n_columns) with its numbers; returns the axes.

    Blues for limits that start at 0, otherwise orange below the middle and purple above it.
    `decimals=None` leaves the numbers out and adds a color bar.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    matrix = as_array(matrix)
    ax = ax or plt.subplots(figsize=(4.2, 3.4))[1]
    sns.heatmap(
        matrix, ax=ax, vmin=limits[0], vmax=limits[1], cmap=cmap or ("Blues" if limits[0] == 0 else "PuOr"),
        annot=decimals is not None, fmt=f".{decimals or 0}f", annot_kws={"size": 11}, cbar=decimals is None,
        xticklabels=columns, yticklabels=rows, square=True, linewidths=1.5, linecolor="white",
    )  # fmt: skip
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.tick_params(axis="x", rotation=0, length=0)
    ax.tick_params(axis="y", rotation=0, length=0)
    return ax


def softmax_rows(rows: dict, labels: Sequence[str], title: str = "d = {}"):
    """Bars in a grid: a column per key of `rows`, a row per label; rows[key] has one distribution each."""
    import matplotlib.pyplot as plt

    size = (6.8, 0.8 + 1.5 * len(labels))
    fig, axes = plt.subplots(len(labels), len(rows), figsize=size, sharex=True, sharey=True, squeeze=False)
    for column, (key, distributions) in enumerate(rows.items()):
        for row, (label, values) in enumerate(zip(labels, distributions, strict=True)):
            ax, values = axes[row, column], as_array(values)
            keys = np.arange(1, len(values) + 1)
            ax.bar(keys, values, color=(ORANGE, BLUE)[row % 2])
            ax.set(ylim=(0, 1), yticks=(0, 0.5, 1), xticks=keys)
            ax.tick_params(axis="x", length=0, labelsize=9)
            if row == 0:
                ax.set_title(title.format(key))
            if column == 0:
                ax.set_ylabel(f"weight\n({label})", fontsize=10)
    fig.supxlabel("key", fontsize=11)
    return fig
