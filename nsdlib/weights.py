"""Whether a file's tensors are those of a model."""


def check_fit(wanted: dict, state: dict, *, what: str, ignore_extra: bool = False):
    """Refuse a state dict that is not the model's.

    Parameters
    ----------
    wanted, state : dict of str to tensor
        The model's own tensors and those that came.
    what : str
        For the message: what does not fit what.
    ignore_extra : bool
        Whether tensors that the model does not have are no fault.

    Raises
    ------
    ValueError
        Counting the differences and naming the first five: missing, unexpected, or of another shape.
    """
    wrong = [f"missing {key}" for key in wanted if key not in state]
    wrong += [f"unexpected {key}" for key in state if key not in wanted and not ignore_extra]
    wrong += [
        f"{key} has shape {tuple(state[key].shape)}, wanted {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    if wrong:
        raise ValueError(f"{what} ({len(wrong)} differences): {'; '.join(wrong[:5])}")
