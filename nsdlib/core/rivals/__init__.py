"""Brain decoders of the systems that the paper compares with, all with `fit` and `predict`; sizes default to the published ones.

"mindeye" is Scotti et al. 2023; with `residual=False` it is the linear decoder to which the public code of Scotti et al. 2024 is
equivalent. "mindreader" is Lin et al. 2022, and "gu" is Gu et al. 2023 on the volume.
"""

from dataclasses import fields

from nsdlib.core.files import check_name

NAMES = ("mindeye", "mindreader", "gu")


def kind(name: str) -> type:
    """Return the class of a rival decoder, whose fields are its settings; ValueError for an unknown name."""
    from nsdlib.core.rivals.mappers import MindReader, VolumeMapper
    from nsdlib.core.rivals.mindeye import MindEye

    kinds = dict(zip(NAMES, (MindEye, MindReader, VolumeMapper), strict=True))
    check_name("decoder", name, kinds)
    return kinds[name]


def make(name: str, *, n_features: int, seed: int = 0, device="cpu", **settings):
    """Return an unfitted decoder with `fit(X, Y, images=None)` and `predict(X)`; see `decoder.Rival`.

    Parameters
    ----------
    name : {"mindeye", "mindreader", "gu"}
    n_features : int
        Width of a token; a pooled vector is one token.
    seed : int
        Seed of initial weights, batches, dropout and noise.
    device : str or torch.device
    **settings
        Fields of `mindeye.MindEye`, `mappers.MindReader` or `mappers.VolumeMapper`.

    Raises
    ------
    ValueError
        For an unknown name or setting (the message suggests the nearest one), and for invalid sizes.
    """
    names = [field.name for field in fields(kind(name))]
    if name == "gu" and "places" not in settings:
        raise ValueError("the decoder 'gu' needs places=, the (n_voxels, 3) positions of the voxels in the volume")
    for setting in settings:
        check_name(f"setting of {name!r} is called", setting, names)
    return kind(name)(n_features=n_features, seed=seed, device=device, **settings)
