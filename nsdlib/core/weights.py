"""Weight files: read without running any code that a file may hold, and compared with a model's tensors."""


def read_tensors(path, *, mmap=False):
    """Read the tensors of a weight file.

    Parameters
    ----------
    path : Path
        A safetensors file by its ending, else one of PyTorch's own format, in which only tensors are accepted.
    mmap : bool
        Map PyTorch's file into memory: tensors are read when they are used. Safetensors always are.

    Returns
    -------
    dict of str to tensor
        On the CPU.

    Raises
    ------
    ValueError
        When the file is damaged, holds anything but tensors, or code that would have to run.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True, mmap=mmap))
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # damaged files make the libraries fail in ways of their own
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{path} cannot be read as weights ({type(error).__name__}: {reason}): it is damaged, larger than the memory, "
            "or holds more than tensors, and nothing in it was run; get it again: `nsdlib fetch weights --verify --run RUN`."
        ) from error


def check_fit(wanted: dict, state: dict, *, what: str, ignore_extra: bool = False):
    """Refuse a state dict that is not the model's.

    Parameters
    ----------
    wanted, state : dict of str to tensor
        The model's own tensors, and those of a file.
    what : str
        For the message: what does not fit what.
    ignore_extra : bool
        Accept tensors that the model does not have.

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
