"""The one place where a device is chosen; everything else creates tensors from its inputs."""


def pick_device(name="auto"):
    """Choose the device of a run.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}
        "auto" takes a CUDA device where there is one and the CPU elsewhere.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        When the name is unknown, or "cuda" is asked for and this machine has none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {name!r}.")
    import torch

    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise ValueError(
            "device='cuda' was asked for, but torch sees no CUDA device here; take device='auto' or 'cpu', or check the "
            "driver with nvidia-smi."
        )
    return torch.device("cuda" if present and name != "cpu" else "cpu")
