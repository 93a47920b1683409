"""Design of a simulated experiment: the image of each trial, in the layout of NSD's design files."""

import numpy as np
import pandas as pd

from nsdlib.data.nsd import layout as nsd

SHARED_FRACTION = nsd.N_SHARED_IMAGES / nsd.N_SUBJECT_IMAGES
NEAR, NEAR_SD = 0.6, 0.24  # share of an image's presentations clustered around one time, and the sd of the cluster in sessions
EASY_HITS, HARD_HITS = 0.90, 0.65  # hit rates for images seen before in the same session, or only in earlier sessions
FALSE_ALARMS = (0.15, 0.35)  # rates at the first and the last trial
UNANSWERED = 1 / 2000
FIRST_SLOT, LAST_SLOT, SLOT_GAP = 3, 70, 5  # slots before and after are blank; blank slots between are at least SLOT_GAP apart


def make_expdesign(n_sessions, rng):
    """Simulate the design of an experiment in which the first `n_sessions` sessions show all their images three times.

    The first `n_sessions` x 750 trials show `n_sessions` x 250 images three times each; a tenth of these images are shared. The
    rest of NSD's 30,000 planned trials show the other images three times each. Of an image's presentations, 60 % cluster around
    one point in time and the rest are uniform (github.com/cvnlab/nsddatapaper, NSDSUMMARYnotes.m).

    Returns the dict of NSD's design file: masterordering (30000,), subjectim (8, 10000), sharedix (1000,), stimpattern
    (40, 12, 75), all int64; ids count from 1.
    """
    n_shared = round(SHARED_FRACTION * n_sessions * nsd.N_SESSION_TRIALS / nsd.N_REPEATS)
    n_own = n_sessions * nsd.N_SESSION_TRIALS // nsd.N_REPEATS - n_shared
    shared_ids = rng.permutation(nsd.N_SHARED_IMAGES)
    own_ids = nsd.N_SHARED_IMAGES + rng.permutation(nsd.N_SUBJECT_IMAGES - nsd.N_SHARED_IMAGES)
    measured_trials = _order(np.concatenate([shared_ids[:n_shared], own_ids[:n_own]]), n_sessions, rng)
    other_images = np.concatenate([shared_ids[n_shared:], own_ids[n_own:]])
    other_trials = _order(other_images, nsd.N_PLANNED_SESSIONS - n_sessions, rng)
    sharedix, subjectim = _assign_ids(rng)
    return {
        "masterordering": np.concatenate([measured_trials, other_trials]) + 1,
        "subjectim": subjectim,
        "sharedix": sharedix,
        "stimpattern": _stimpattern(rng),
    }


def _order(images, n_sessions, rng):
    """Order three presentations of each image by random times (in sessions): (3 * n_images,) int64."""
    centres, size = rng.uniform(0, n_sessions, len(images)), (nsd.N_REPEATS, len(images))
    near = (centres + NEAR_SD * rng.standard_normal(size)) % n_sessions  # wraps from the last session to the first
    keys = np.where(rng.random(size) < NEAR, near, rng.uniform(0, n_sessions, size))
    order = np.tile(images, nsd.N_REPEATS)[np.argsort(keys.ravel())]
    while len(repeats := np.flatnonzero(order[1:] == order[:-1])):  # no image in two successive trials
        for i in repeats:
            partner = rng.integers(len(order))
            order[[i, partner]] = order[[partner, i]]
    return order


def _assign_ids(rng):
    """Draw the ids of the shared images (1000,) and of each subject's images (8, 10000); ids count from 1."""
    first = nsd.FIRST_SHARED_ID + 1
    other_ids = first + 1 + rng.choice(nsd.N_STIMULI - first, nsd.N_SHARED_IMAGES - 1, replace=False)
    sharedix = np.concatenate([[first], np.sort(other_ids)])
    own_ids = rng.permutation(np.setdiff1d(np.arange(1, nsd.N_STIMULI + 1), sharedix)).reshape(nsd.N_SUBJECTS, -1)
    return sharedix, np.concatenate([np.tile(sharedix, (nsd.N_SUBJECTS, 1)), own_ids], axis=1)


def _stimpattern(rng):
    """Draw which 4-s slots hold a trial: (40, 12, 75) of 0 and 1."""
    pattern = np.zeros((nsd.N_PLANNED_SESSIONS, nsd.N_TASK_RUNS, nsd.N_SLOTS), dtype=np.int64)
    pattern[..., FIRST_SLOT : LAST_SLOT + 1] = 1
    n_slots = LAST_SLOT + 1 - FIRST_SLOT
    for session in pattern:
        for run, n_trials in zip(session, nsd.RUN_TRIALS, strict=True):
            n_blank = n_slots - n_trials
            free = n_slots - SLOT_GAP * (n_blank + 1)
            run[FIRST_SLOT + SLOT_GAP * np.arange(1, n_blank + 1) + np.sort(rng.integers(0, free, n_blank))] = 0
    return pattern


def onset_rows(expdesign, session, run):
    """Return the design rows (4/3 s each) in which the trials of a task run begin: (n_trials,); session and run from 1."""
    rows_per_slot = nsd.N_DESIGN_ROWS // nsd.N_SLOTS
    return rows_per_slot * np.flatnonzero(expdesign["stimpattern"][session - 1, run - 1])


def stim_info(expdesign):
    """Build NSD's table of the 73,000 images (pandas.DataFrame); the columns about COCO hold placeholders."""
    ids = np.arange(nsd.N_STIMULI)
    table = {
        "cocoId": 100_000 + 7 * ids,
        "cocoSplit": "train2017",
        "cropBox": "(0, 0, 0.125, 0.125)",
        "loss": 0.0,
        "nsdId": ids,
        "flagged": False,
        "BOLD5000": False,
        "shared1000": np.isin(ids, expdesign["sharedix"] - 1),
    }
    table |= {f"subject{s + 1}": np.isin(ids, expdesign["subjectim"][s] - 1).astype(int) for s in range(nsd.N_SUBJECTS)}
    trial_numbers = np.argsort(expdesign["masterordering"], kind="stable").reshape(-1, nsd.N_REPEATS) + 1
    for s, images in enumerate(expdesign["subjectim"]):
        for repeat in range(nsd.N_REPEATS):
            image_trials = np.zeros(nsd.N_STIMULI, dtype=int)
            image_trials[images - 1] = trial_numbers[:, repeat]
            table[f"subject{s + 1}_rep{repeat}"] = image_trials
    return pd.DataFrame(table)


def responses(expdesign, subject, n_sessions, rng):
    """Simulate NSD's table of behaviour (pandas.DataFrame): images from the design, answers at the rates of this module."""
    n_trials = n_sessions * nsd.N_SESSION_TRIALS
    positions, trial = expdesign["masterordering"][:n_trials], np.arange(n_trials)
    ranks = pd.Series(trial).groupby(positions)
    session = trial // nsd.N_SESSION_TRIALS
    old = ranks.cumcount().to_numpy() > 0
    old_in_session = pd.Series(trial).groupby([positions, session]).cumcount().to_numpy() > 0
    old_rate = np.where(old_in_session, EASY_HITS, np.where(old, HARD_HITS, np.linspace(*FALSE_ALARMS, n_trials)))
    pressed_old, answered = rng.random(n_trials) < old_rate, rng.random(n_trials) >= UNANSWERED
    correct = pressed_old == old
    run = np.repeat(np.arange(nsd.N_TASK_RUNS), nsd.RUN_TRIALS)
    trial_in_run = np.concatenate([np.arange(n) for n in nsd.RUN_TRIALS])
    table = pd.DataFrame(
        {
            "SUBJECT": subject,
            "SESSION": session + 1,
            "RUN": np.tile(run, n_sessions) + 1,
            "TRIAL": np.tile(trial_in_run, n_sessions) + 1,
            "73KID": expdesign["subjectim"][subject - 1, positions - 1],
            "10KID": positions,
            "TIME": (7 * session + (trial % nsd.N_SESSION_TRIALS) * nsd.TRIAL_SECONDS / 86_400).round(6),
            "ISOLD": old.astype(int),
            "ISCORRECT": correct,
            "RT": rng.lognormal(np.where(correct, 6.75, 6.9), 0.3).round(1),
            "CHANGEMIND": 0,
            "MEMORYRECENT": ranks.diff(),
            "MEMORYFIRST": (trial - ranks.transform("min")).where(old),
            "ISOLDCURRENT": old_in_session.astype(int),
            "ISCORRECTCURRENT": pressed_old == old_in_session,
            "TOTAL1": (answered & ~pressed_old).astype(int),
            "TOTAL2": (answered & pressed_old).astype(int),
            "BUTTON": 1 + pressed_old,
            "MISSINGDATA": 0,
        }
    )
    answer_columns = ["ISCORRECT", "RT", "CHANGEMIND", "ISCORRECTCURRENT", "BUTTON"]
    table[answer_columns] = table[answer_columns].astype(float)
    table.loc[~answered, answer_columns] = np.nan
    return table
