"""Strength of each effect in a simulated brain: as measured in the Natural Scenes Dataset, or easy to decode.

Values with a source: signal-to-noise ratios by area are those of subject 1 in DeepNSD and Brain-Score
(`nsdlib.twin.calibration`), with V3's 0.02 lower so that the simulated brain's measured values match NSD's; exponents are from
Kay et al. 2013, PLoS Comput. Biol. 9, e1003079 (Fig. 9); parts of the noise follow Bodurka et al. 2007, NeuroImage 34, 542, and
Wald and Polimeni 2017, NeuroImage 154, 15. Session effects, repetition effects and the variance that voxels share with a
decoder's features are assumptions, chosen such that comparable statistics match NSD's.
"""

from dataclasses import dataclass, field

# mean and sd over voxels of the ratio of signal sd to total noise sd in single-trial betas
NCSNR = {
    "V1": (0.55, 0.21), "V2": (0.48, 0.23), "V3": (0.43, 0.20), "hV4": (0.38, 0.18), "EBA": (0.44, 0.20),
    **dict.fromkeys(("FFA-1", "VWFA-1"), (0.35, 0.17)), **dict.fromkeys(("OFA", "OPA", "OWFA"), (0.33, 0.16)),
    **dict.fromkeys(("FBA-1", "FBA-2", "FFA-2", "PPA", "RSC", "VWFA-2"), (0.30, 0.16)), "other": (0.27, 0.16),
}  # fmt: skip
# area: mean response and sd over images, percent signal change
SIGNAL = {"V1": (2.2, 1.0), "V2": (1.8, 0.8), "V3": (1.8, 0.8), "hV4": (1.8, 0.8), "other": (1.0, 0.5)}
EXPONENTS = {"V1": 0.181, "V2": 0.129, "V3": 0.120, "hV4": 0.115, "other": 0.115}
# area: response to the second and third presentation, relative to the first
REPETITION = {"V1": (0.99, 0.98), "V2": (0.99, 0.98), "V3": (0.99, 0.98), "hV4": (0.97, 0.96), "other": (0.94, 0.92)}


@dataclass(frozen=True)
class Levels:
    """Levels of a simulated brain; shares are shares of variance."""

    ncsnr: dict = field(default_factory=lambda: NCSNR)
    signal: dict = field(default_factory=lambda: SIGNAL)
    signal_spread: float = 0.5  # sd over voxels of the logs of both
    smoothness: tuple = ((0.20, 0.0), (0.60, 1.05), (0.20, 3.0))  # maps of ncsnr: shares, sd of a Gaussian (voxels)
    dead: float = 0.01  # share of voxels without a signal in a subject of quality 1
    outliers: float = 0.0005  # share of voxels with ten times the noise
    point_spread: float = 0.53  # of tuning, sd in voxels: 2.25 mm FWHM

    dimensions: int = 128  # of graded meaning; 0 uses the scene's attributes instead
    semantic: float = 0.40  # share of meaning in the signal of higher areas
    private: float = 0.33  # share of the signal from picture features that no decoder has
    exponents: dict = field(default_factory=lambda: EXPONENTS)
    pool: float = 0.5  # strength of divisive normalisation by the energy of the whole picture
    saturation: float = 0.0  # s of tanh(s x) / s

    gain_sd: float = 0.12  # of the log gain of a trial, which all voxels share
    gain_ar: float = 0.3  # autocorrelation of the log gain from trial to trial
    aligned: float = 0.20  # share of a trial's noise along the axes of the signal
    repetition: dict = field(default_factory=lambda: REPETITION)
    session_offset: float = 0.25  # sd over sessions, in units of the sd of betas
    session_gain: float = 0.12  # sd of the log gain of a voxel in a session
    common_gain: float = 0.08  # sd of the log gain of all voxels in a session

    # measurement noise: shares of thermal, local, broad and global parts, and their correlation from volume to volume
    shares: tuple = (0.50, 0.25, 0.15, 0.10)
    autocorrelation: tuple = (0.0, 0.4, 0.8, 0.85)
    broad: tuple = tuple(range(12, 41, 4))  # width of each broad factor's map, FWHM in mm; 0 is white
    drift: float = 1.0  # sd of slow drift, percent of the mean signal
    sampling: float = 1.6  # seconds between acquired volumes, before resampling to NSD's TR
    denoised: float = 0.90  # noise sd of denoised betas relative to least squares, about the gain in notebook 01


_SAME = ("V1", "V2", "V3", "hV4", "other")
EASY = Levels(
    ncsnr=dict.fromkeys(NCSNR, (0.64, 0.30)), signal=dict.fromkeys(_SAME, (1.2, 0.6)), signal_spread=0.3,
    smoothness=((1.0, 0.0),), dead=0.0, outliers=0.0, point_spread=0.0,
    dimensions=0, semantic=0.8, private=0.0, exponents=dict.fromkeys(_SAME, 1.0), pool=0.0, saturation=0.7,
    gain_sd=0.2, gain_ar=0.0, aligned=0.0, repetition=dict.fromkeys(_SAME, (1.0, 1.0)),
    session_offset=0.0, session_gain=0.0, common_gain=0.0,
    shares=(0.7, 0.0, 0.3, 0.0), autocorrelation=(0.0,) * 4, broad=(0,) * 6, sampling=4 / 3, denoised=0.8,
)  # fmt: skip
LEVELS = {"nsd_like": Levels(), "easy": EASY}
