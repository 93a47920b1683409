"""Findings of a first look at a BIDS subject, as a list of lines and as the pictures of an overview sheet."""

import json

import numpy as np

from nsdlib.core.glm.design import drift_degree
from nsdlib.core.glm.hrf import canonical
from nsdlib.core.glm.options import GLMOptions
from nsdlib.data.bids import volumes
from nsdlib.data.bids.files import existing

MIN_REPEATED = 10  # pictures repeated in other runs of a session; with fewer, noise regressors are chosen by chance
MIN_TRAIN_IMAGES = 300  # training images; with fewer, a decoder has little to learn from
N_PICTURES = 24  # pictures on the sheet


def check_list(subject, parameters, reasons):
    """List what was found, what is missing and its consequences, and what was assumed or left out: a list of str.

    Lines begin with ok, none (missing, and the fallback), note (please check) or LACK (prevents the analysis). Takes a
    BIDSSubject, `parameters`, a dict of the run's parameters to (value, reason), and `reasons` for the settings of its section.
    """
    settings, (counts, n_repeated) = subject.settings, repeats(subject)
    subject.split, (roi, _) = parameters["split"][0], parameters["roi"]
    presentations = ", ".join(f"{n:,} {count}x" for count, n in zip(*np.unique(counts, return_counts=True), strict=True))
    column = f"column {settings.image_column} ({reasons.get('image_column', 'as given')})"
    lines = [
        ("ok", "data", f"{subject.root}: {describe(subject.root)}"),
        ("ok", "BOLD", f"{describe(settings.derivatives)}; space {settings.space} ({reasons.get('space', 'as given')})"),
        ("ok", "pictures", f"{column}: {len(counts):,} distinct values, all of them files below {settings.images}"),
    ]
    for session, n_trials in subject.trials.groupby(["session", "run"]).size().groupby(level="session"):
        label = subject.runs[session, 1].entities.get("ses", "none")
        by_run = ", ".join(map(str, n_trials))
        lines.append(("ok", f"session {session}", f"ses-{label}: {n_trials.sum():,} trials in runs of {by_run}"))
    lines.append(_split(subject))
    if n_repeated.any():
        repeated = f"{presentations}; {n_repeated.min():,} to {n_repeated.max():,} pictures in several runs of a session"
        lines.append(("ok" if n_repeated.min() >= MIN_REPEATED else "note", "repeats", repeated))
    else:
        no_repeats = f"in several runs ({presentations}): no noise ceiling, no denoising and ridge in the GLM"
        lines.append(("none", "repeats", no_repeats))
    no_captions = "vision alone guides the refined image, text_weight is 0"
    no_regions = "the mask is used; if it has many voxels, those that do best in training trials"
    lines += [
        ("ok", "captions", settings.captions) if subject.has_captions else ("none", "captions", no_captions),
        ("ok", "regions", ", ".join(subject.regions)) if subject.regions else ("none", "regions", no_regions),
        ("ok", "voxels", f"{subject.brainmask.sum():,} in the mask, {subject.voxels(roi).sum():,} in {roi}"),
        _freedom(subject, n_noise=GLMOptions.n_pcs if n_repeated.any() else 0),
    ]
    lines += [("note", "", note) for note in subject.notes]
    return [f"{status:<4}  {topic:<10}{text}" for status, topic, text in lines]


def describe(root):
    """Describe a data set by name, licence and pipeline, as far as `dataset_description.json` states them."""
    path = root / "dataset_description.json"
    if not path.is_file():
        return "no dataset_description.json"
    try:
        description = json.loads(existing(path).read_text(encoding="utf-8-sig"))
        pipeline = (description.get("GeneratedBy") or [description.get("PipelineDescription") or {}])[0]
        parts = description.get("Name"), description.get("License"), pipeline.get("Name"), pipeline.get("Version")
    except (ValueError, AttributeError, LookupError) as error:
        raise ValueError(f"{path} is not as BIDS defines it ({type(error).__name__}: {error}): correct it.") from error
    return ", ".join(str(part) for part in parts if part)


def repeats(subject):
    """Count the trials of each image, (n_images,), and the images in each session shown in several runs, (n_sessions,) int."""
    trials = subject.trials
    _, counts = np.unique(trials["image"], return_counts=True)
    runs = trials.drop_duplicates(["session", "run", "image"])
    repeated = runs.groupby(["session", "image"]).size() > 1  # each session is fitted alone
    return counts, repeated.groupby("session").sum().to_numpy()


def sheet(subject):
    """Collect the arguments of `plots.plot_import` for a subject's overview sheet, with volumes in RAS+ orientation."""
    from nibabel import Nifti1Image, as_closest_canonical

    ids, first_trials = np.unique(subject.image_ids, return_index=True)
    pictures = ids[np.argsort(first_trials)][:N_PICTURES]
    texts = zip(subject.captions(pictures), subject.image_names(pictures), strict=True)
    design = subject.design(1, 1)
    lag = np.arange(len(design))[:, None] - np.flatnonzero(design)
    response = np.pad(canonical(subject.tr, subject.duration), (0, len(design)))
    volumes_ras = (Nifti1Image(np.float32(values), subject.affine) for values in (subject.background, subject.brainmask))
    background, mask = (as_closest_canonical(volume).get_fdata(dtype=np.float32) for volume in volumes_ras)
    depth = np.flatnonzero(mask.any(axis=(0, 1)))
    return {
        "images": subject.stimuli(pictures),
        "names": [captions[0] if captions else name for captions, name in texts],
        "regressors": np.where(lag >= 0, response[np.maximum(lag, 0)], 0),  # (n_volumes, n_trials)
        "background": background,
        "mask": mask > 0,
        "slices": np.unique(np.linspace(depth[0], depth[-1], 6).round().astype(int)[1:-1]),
    }


def _split(subject):
    """The line on the split."""
    counts = subject.split_counts()
    train = "{images_train:,} pictures to train with ({trials_train:,} trials)".format(**counts)
    test = "{images_test:,} to test with ({trials_test:,})".format(**counts)
    text = f"{subject.split}: {train}, {test}"
    if counts["images_train"] < MIN_TRAIN_IMAGES:
        return "note", "split", f"{text}; below {MIN_TRAIN_IMAGES} there is little to learn from"
    return "ok", "split", text


def _freedom(subject, *, n_noise):
    """The line on the GLM's residual degrees of freedom, in the run with the fewest."""
    terms = {}
    for (session, run), files in subject.runs.items():
        n_trials, n_volumes = np.count_nonzero(subject.design(session, run)), subject.n_volumes(session, run)
        regressors, excluded = volumes.read_confounds(files, subject.settings.confounds, n_volumes)
        n_confounds = regressors.shape[1] + np.count_nonzero(excluded)  # extra columns on a finer grid carry no more information
        n_drifts = drift_degree(subject.run_seconds(session, run)) + 1
        terms[n_volumes - n_trials - n_drifts - n_confounds - n_noise] = (
            f"{files}: {n_volumes} volumes - {n_trials} trials - {n_drifts} drifts - {n_confounds} confounds"
            f" - up to {n_noise} noise components"
        )
    fewest = min(terms)
    return "ok" if fewest > 0 else "LACK", "freedom", f"{fewest} degrees at least, in {terms[fewest]}"
