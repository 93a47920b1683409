"""Read the content of a figure from its lines: means at the markers, intervals from end to end."""

import numpy as np


def lines(ax):
    """The lines of axes without those that only a legend needs."""
    return [line for line in ax.lines if len(line.get_xdata())]


def points(ax):
    """Return where markers stand (n_points, 2), one kind after the other, and the ends of intervals (n_points, 2, 2)."""
    bare = ("None", None)
    places = np.concatenate([line.get_xydata() for line in lines(ax) if line.get_marker() not in bare])
    ends = [line.get_xydata() for line in lines(ax) if line.get_marker() in bare and line.get_label().startswith("_")]
    return places[np.isfinite(places).all(axis=1)], np.array([one for one in ends if np.isfinite(one).all()])
