"""Pairing of reconstructions with the true images, by names, by numbers in names, or as rows of arrays."""

import re
from collections import Counter

import numpy as np

from nsdlib.core.files import some
from nsdlib.data.bids.files import ordered

LEADING_ZEROS = re.compile("(?<![0-9])0+(?=[0-9])")  # 007 is 7


def pair(truth, made):
    """Pair two `Images`: by equal names, else by a number in the names; rows of an array are paired in order.

    Returns
    -------
    names : list of str
        Of the true images, (n_images,), in numeric order.
    truth : (n_images, side, side, 3) uint8
    made : (n_samples, n_images, side, side, 3) uint8
        Several reconstructions of an image are its samples, in the order of the other numbers in their names.
    notes : list of str

    Raises
    ------
    ValueError
        If an image has no partner, images have different numbers of samples, names are ambiguous, or fewer than two images exist.
    """
    of_truth, of_made = _keys(truth, made)
    n_equal = Counter(of_truth)
    if duplicates := [name for name, key in zip(truth.names, of_truth, strict=True) if n_equal[key] > 1]:
        raise ValueError(
            f"Images of {truth.place} have the same name or number, so their partners are ambiguous: {some(duplicates)}."
        )
    _check_partners(truth, of_truth, made, {key for key, _ in of_made})
    _check_partners(made, [key for key, _ in of_made], truth, set(of_truth))
    rows = _order(truth.names)
    columns = _samples(made, of_made, [of_truth[row] for row in rows])
    names, notes = [truth.names[row] for row in rows], [*truth.notes, *made.notes]
    if len(names) < 2:
        raise ValueError(f"{truth.place} holds one image, {names[0]}, and scores compare it with others: wanted two or more.")
    if truth.is_array != made.is_array:
        pictures = made if truth.is_array else truth
        first, *_, last = (pictures.names[k] for k in _order(pictures.names))
        notes.append(f"Rows of the array are paired with {pictures.place} in the order of its numbers, {first} to {last}.")
    return names, truth.pixels[rows], made.pixels[np.transpose(columns)], notes


def _keys(truth, made):
    """Keys of the true images, and (key, sample) of the reconstructions; images with equal keys are partners."""
    if truth.is_array or made.is_array:
        of_truth, of_made = (np.argsort(_order(images.names)).tolist() for images in (truth, made))
        return of_truth, [(key, ()) for key in of_made]
    of_truth, of_made = ([LEADING_ZEROS.sub("", name) for name in images.names] for images in (truth, made))
    if set(of_truth) & set(of_made):
        return of_truth, [(name, ()) for name in of_made]
    of_truth, of_made = _numbers(truth), _numbers(made)
    varying = [column for column in zip(*of_truth, strict=True) if len(set(column)) > 1] or [next(zip(*of_truth, strict=True))]
    if len(varying) > 1:
        raise ValueError(f"Names in {truth.place} and {made.place} differ, and no one number tells {some(truth.names)} apart.")
    columns, image_numbers = list(zip(*of_made, strict=True)), set(varying[0])
    overlap = [len(image_numbers & set(column)) / len(image_numbers | set(column)) for column in columns]
    if overlap.count(max(overlap)) > 1:
        raise ValueError(
            f"Several numbers in the names of {made.place} can be the image's, such as in {made.names[0]}: name one alone."
        )
    column_of_image = overlap.index(max(overlap))
    return list(varying[0]), [(row[column_of_image], row[:column_of_image] + row[column_of_image + 1 :]) for row in of_made]


def _order(names):
    """Indices that sort names in numeric order, 2 before 10."""
    return sorted(range(len(names)), key=lambda row: ordered(names[row]))


def _numbers(images):
    """Numbers in each name: a list of tuples of int, all of the same length."""
    numbers = [tuple(map(int, re.findall(r"[0-9]+", name))) for name in images.names]
    if unlike := [name for name, row in zip(images.names, numbers, strict=True) if not row or len(row) != len(numbers[0])]:
        raise ValueError(
            f"The names in {images.place} are not those of their partners, and their numbers pair nothing: {some(unlike)} "
            f"beside {images.names[0]}."
        )
    return numbers


def _check_partners(images, keys, other, partner_keys):
    """Raise a ValueError if images of one place have no partner in the other."""
    if alone := [name for name, key in zip(images.names, keys, strict=True) if key not in partner_keys]:
        raise ValueError(f"{len(alone)} of {len(keys)} images of {images.place} have no partner in {other.place}: {some(alone)}.")


def _samples(made, keys, wanted):
    """Positions of each wanted image's reconstructions: lists of equal length."""
    positions = {key: {} for key in wanted}
    for position, (key, sample) in enumerate(keys):
        if (other := positions[key].setdefault(sample, position)) != position:
            raise ValueError(f"{made.names[other]} and {made.names[position]} of {made.place} have the same numbers: keep one.")
    n_most = max(map(len, positions.values()))
    if fewer := [made.names[min(samples.values())] for samples in positions.values() if len(samples) < n_most]:
        raise ValueError(
            f"{made.place} has {n_most} samples of some images and fewer of {len(fewer)}: {some(fewer)}. Wanted as many of each."
        )
    return [[samples[key] for key in sorted(samples)] for samples in positions.values()]
