"""The known pitfalls of NSD, one check for each.

A check takes a subject and a version of the betas, and returns what it found, what it wanted, and whether they match. It raises a
FileNotFoundError if a file is missing. Its docstring says what must hold, and is shown to the user.
"""

import numpy as np

from nsdlib.data.nsd import files as nsd_files
from nsdlib.data.nsd import layout as nsd

USUAL_PERCENT = (0.5, 30.0)  # expected range of the 99th percentile of absolute betas, percent signal change
N_COMPARED = 20  # voxels in which both forms of the betas are compared


def _is_real(subject):
    """Whether the brain mask has the shape of one of NSD's eight brains."""
    return subject.brainmask.shape in nsd.VOLUME_SHAPES.values()


def shared_images(subject, _):
    """The shared images are the first thousand of every subject, beginning with image 2951."""
    shared = subject.expdesign["sharedix"]
    first = subject.expdesign["subjectim"][:, : nsd.N_SHARED_IMAGES]
    same = (first == first[0]).all() and set(first[0]) == set(shared)
    return shared[0], nsd.FIRST_SHARED_ID + 1, same and shared[0] == nsd.FIRST_SHARED_ID + 1


def planned(subject, _):
    """The design shows each image of a subject's list three times."""
    n_shown = np.bincount(subject.expdesign["masterordering"], minlength=nsd.N_SUBJECT_IMAGES + 1)[1:]
    return f"{n_shown.min()} to {n_shown.max()} times", f"{nsd.N_REPEATS} times", (n_shown == nsd.N_REPEATS).all()


def splits(subject, _):
    """The first 30, 32, 37 and 40 sessions of the design hold as many images to train + to test as publications say."""
    counts_by_n = {n: subject.split_counts(n) for n in nsd.SPLITS}
    found = {n: (counts["images_train"], counts["images_test"]) for n, counts in counts_by_n.items()}
    wanted = nsd.SPLITS
    if not _is_real(subject):  # a simulated design has the same images in another order
        wanted = {nsd.N_PLANNED_SESSIONS: nsd.SPLITS[nsd.N_PLANNED_SESSIONS]}
    phrases = [", ".join(f"{n}: {a:,} + {b:,}" for n, (a, b) in splits.items()) for splits in (found, wanted)]
    return *phrases, all(found[n] == pair for n, pair in wanted.items())


def stim_info(subject, _):
    """Rows of the table of images are their 0-based ids, and its shared images are the design's."""
    table = subject.stim_info()
    shared = set(table["nsdId"][table["shared1000"].astype(bool)])
    same = len(shared & set(subject.expdesign["sharedix"] - 1))
    in_place = int((table["nsdId"] == np.arange(nsd.N_STIMULI)).sum())
    found, wanted = (in_place, same, len(shared)), (nsd.N_STIMULI, nsd.N_SHARED_IMAGES, nsd.N_SHARED_IMAGES)
    phrases = ("{:,} ids in place, {:,} of {:,} shared images".format(*numbers) for numbers in (found, wanted))
    return *phrases, found == wanted


def repeats(subject, _):
    """The table of images names the same trials as the design."""
    table = subject.stim_info()
    named = np.full(subject.n_trials, -1)
    for repeat in range(nsd.N_REPEATS):
        trials = table[f"subject{subject.subject}_rep{repeat}"].to_numpy()
        inside = (trials > 0) & (trials <= subject.n_trials)
        named[trials[inside] - 1] = table["nsdId"][inside]
    same = named == subject.image_ids
    return f"{same.sum():,} trials", f"{subject.n_trials:,} trials", same.all()


def behaviour(subject, _):
    """The table of behaviour names the same images as the design."""
    table = subject.responses()
    same = table["73KID"].to_numpy() - 1 == subject.image_ids
    if "10KID" in table:
        same &= table["10KID"].to_numpy() == subject.expdesign["masterordering"][: subject.n_trials]
    return f"{same.sum():,} trials", f"{subject.n_trials:,} trials", same.all()


def stimuli(subject, _):
    """The image of the first trial is 425 pixels square, in colour."""
    images = subject.stimuli(subject.image_ids[:1])
    wanted = (nsd.IMAGE_SIZE, nsd.IMAGE_SIZE, 3)
    is_right = images.shape[1:] == wanted and images.dtype == np.uint8
    return f"{images.shape[1:]} {images.dtype}", f"{wanted} uint8", is_right


def captions(subject, _):
    """Every image of session 1 has captions."""
    ids = np.unique(subject.image_ids[: nsd.N_SESSION_TRIALS])
    n_found = sum(map(bool, subject.captions(ids)))
    return f"{n_found} images", f"{len(ids)} images", n_found == len(ids)


def masks(subject, _):
    """The masks go from 0 to 1, and have the shape of this subject's brain."""
    wanted = nsd.VOLUME_SHAPES[subject.subject] if _is_real(subject) else subject.brainmask.shape
    for name in ("brainmask", "valid"):
        if name == "brainmask" or subject.paths.volume(name).is_file():
            mask = np.nan_to_num(subject.volume(name))  # NaN where nothing was measured
            if mask.shape != wanted or mask.min() < 0 or mask.max() != 1:
                return f"{name}: shape {mask.shape}, values {mask.min():g} to {mask.max():g}", f"{wanted}, 0 to 1", False
    return f"{wanted}, 0 to 1", f"{wanted}, 0 to 1", True


def regions(subject, _):
    """Region volumes have the shape of the mask, and labels from -1 to the last one that has a name."""
    found = []
    for name, labels in nsd.ROI_LABELS.items():
        if name not in nsd.USED_ROIS and not subject.paths.roi(name).is_file():
            continue
        values = subject.roi(name)
        if values.min() < -1 or values.max() > len(labels):
            return f"{name}: {values.min()} to {values.max()}", f"-1 to {len(labels)}", False
        found.append(name)
    return f"{len(found)} volumes", f"at least {len(nsd.USED_ROIS)} volumes", True


def region_names(subject, _):
    """The tables of label names name the labels as this library does."""
    tables = {name: subject.paths.roi_names(name) for name in nsd.ROI_LABELS if subject.paths.roi_names(name).is_file()}
    if not tables:
        raise FileNotFoundError
    for name, path in tables.items():
        with nsd_files.reading(path):
            rows = [line.split()[:2] for line in path.read_text().splitlines() if line.strip()]
            named = {int(number): label for number, label in rows}
        wanted = dict(enumerate(nsd.ROI_LABELS[name], start=1))
        if {number: named.get(number) for number in wanted} != wanted:
            return f"{name}: {named}", wanted, False
    return f"{len(tables)} tables", f"{len(tables)} tables", True


def voxels(subject, _):
    """Real volumes have the number of nsdgeneral voxels that publications name."""
    found = int((subject.roi("nsdgeneral") > 0).sum())
    if not _is_real(subject):
        return found, "any (a simulated subject)", found > 0
    return found, nsd.N_GENERAL_VOXELS[subject.subject], found == nsd.N_GENERAL_VOXELS[subject.subject]


def sessions(subject, version):
    """The betas of every session are int16 at 1.8 mm, 750 trials, without a scale of their own."""
    wanted = f"{(*subject.brainmask.shape, nsd.N_SESSION_TRIALS)} int16, no scale"
    for session in range(1, subject.n_sessions + 1):
        forms = [subject.paths.betas(version, session, ending) for ending in ("hdf5", "nii.gz")]
        if not (existing := [path for path in forms if path.is_file()]):
            if spaces := _other_spaces(forms[0]):
                return f"session {session} in {', '.join(spaces)} only", "func1pt8mm", False
            raise FileNotFoundError
        for path in existing:
            if (found := _header(path)) != wanted:
                return f"{path.name}: {found}", wanted, False
    return f"{subject.n_sessions} sessions", f"{subject.n_sessions} sessions", True


def _header(path):
    """Shape (X, Y, Z, n_trials), type and scale of a betas file as text, without reading its values."""
    import h5py
    import nibabel

    with nsd_files.reading(path):
        if path.suffix == ".hdf5":
            with h5py.File(path, "r") as file:
                return f"{file['betas'].shape[::-1]} {file['betas'].dtype}, no scale"
        image = nibabel.load(path)
        slope, intercept = image.header.get_slope_inter()
        scale = "no scale" if slope in (None, 1) and intercept in (None, 0) else f"a scale of {slope}"
        return f"{image.shape} {image.get_data_dtype()}, {scale}"


def _other_spaces(path):
    """Spaces other than func1pt8mm with betas, such as fsaverage, nativesurface, func1mm; none of them can be read."""
    folder = path.parents[1]
    return sorted(space.name for space in folder.parent.glob("*") if space.name != folder.name and any(space.rglob("*betas_*")))


def scale(subject, version):
    """Betas of session 1 are percent signal change: 99 of 100 are no larger than some percent."""
    betas = subject.betas(1, subject.roi("nsdgeneral") > 0, version=version)
    percentile = np.percentile(np.abs(betas), 99)
    return f"{percentile:.2g} %", f"{USUAL_PERCENT[0]} to {USUAL_PERCENT[1]} %", USUAL_PERCENT[0] < percentile < USUAL_PERCENT[1]


def ncsnr(subject, version):
    """The map of signal to noise has the shape of the mask, no negative number, and some above 0."""
    ratio = subject.ncsnr(version)
    lowest, highest = ratio.min(), ratio.max()
    found, wanted = f"{ratio.shape}, {lowest:.2g} to {highest:.2g}", f"{subject.brainmask.shape}, 0 to more"
    return found, wanted, ratio.shape == subject.brainmask.shape and lowest >= 0 and highest > 0


def series(subject, _):
    """The time series of session 1 are twelve runs of 226 volumes of this subject's shape."""
    import nibabel

    wanted = (*subject.brainmask.shape, nsd.N_VOLUMES)
    for run in range(1, nsd.N_TASK_RUNS + 1):
        path = subject.paths.timeseries(1, run)
        with nsd_files.reading(path):
            shape = nibabel.load(path).shape
        if shape != wanted:
            return f"{path.name}: {shape}", wanted, False
    return f"{nsd.N_TASK_RUNS} runs of {wanted}", f"{nsd.N_TASK_RUNS} runs of {wanted}", True


def forms(subject, version):
    """Both forms of the betas of session 1 hold the same numbers."""
    hdf5, nifti = (subject.paths.betas(version, 1, ending) for ending in ("hdf5", "nii.gz"))
    if not (hdf5.is_file() and nifti.is_file()):
        raise FileNotFoundError
    mask = np.zeros(subject.brainmask.shape, dtype=bool)
    mask[tuple(np.argwhere(subject.brainmask)[:: max(1, subject.brainmask.sum() // N_COMPARED)].T)] = True
    same = nsd_files.read_beta_columns(hdf5, mask) == nsd_files.read_beta_volumes(nifti, mask)
    return f"{same.sum():,} numbers", f"{same.size:,} numbers", same.all()


def onsets(subject, _):
    """Onsets of session 1 name the images of its trials, in order."""
    rows = np.concatenate([subject.design(1, run) for run in range(1, subject.n_runs(1) + 1)])
    found = rows[rows > 0] - 1
    wanted = subject.image_ids[: nsd.N_SESSION_TRIALS]
    same = int((found == wanted).sum()) if len(found) == len(wanted) else 0
    return f"{same} of {len(found)} onsets", f"{len(wanted)} of {len(wanted)} onsets", same == len(wanted)
