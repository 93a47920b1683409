"""The border between arrays and tensors: the one choice of a device, the way to it, and the refusal of what is no number.

And what a GPU does again and again: kernels that are captured once and replayed.
"""

import numpy as np


def pick_device(name="auto"):
    """Choose the torch.device of a run.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}
        "auto" takes a CUDA device where there is one and the CPU elsewhere. ValueError for another name, and for "cuda" where
        this machine has none.
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


def to_tensor(values, device="cpu", dtype=None):
    """Turn a bool, integer or floating array into a tensor, whatever its byte order and strides; of its own type without `dtype`.

    Memory is shared where that can be.
    """
    import torch

    if not isinstance(values, torch.Tensor):
        values = np.asarray(values)
        values = np.ascontiguousarray(values) if min(values.strides, default=0) < 0 else values
        values = torch.from_numpy(np.require(values, values.dtype.newbyteorder("="), "W"))
    return values.to(device, dtype)


def check_finite(name, values, image_ids=None):
    """Return the values (n_images, ...) when all are finite numbers.

    ValueError when they are no array of real numbers, or some are NaN or infinite, as float16 is above 65,504; the message says
    that of `name`, and names the images by `image_ids` (n_images,), or else their rows.
    """
    if getattr(values, "dtype", np.dtype(object)).kind not in "biuf":
        raise ValueError(f"{name} must be an array of real numbers, got {getattr(values, 'dtype', type(values).__name__)}")
    rows = [row for row, of_image in enumerate(values) if not np.isfinite(of_image).all()]
    if rows:
        n_wrong = sum(np.count_nonzero(~np.isfinite(values[row])) for row in rows)
        named, which = ("rows", rows) if image_ids is None else ("images", np.asarray(image_ids)[rows].tolist())
        first = ", ".join(map(str, which[:5])) + (", ..." if len(which) > 5 else "")
        raise ValueError(f"{name} holds {n_wrong} values that are not finite numbers, in {named} {first}")
    return values


class Captured:
    """A function of tensors, whose shapes stay; on a GPU its kernels are captured at the second call and replayed from then on.

    One graph takes the place of a thousand launches, which small batches wait for. The next call overwrites what it returned.
    """

    def __init__(self, function):
        self.function, self.n_calls, self.graph = function, 0, None

    def __call__(self, *given):
        """Call the function; the first call is made as it is, for libraries to choose their kernels."""
        self.n_calls += 1
        if self.n_calls == 1 or not given[0].is_cuda:
            return self.function(*given)
        import torch

        if self.graph is None:
            self.given, graph = [x.clone() for x in given], torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.made = self.function(*self.given)
            self.graph = graph
        for own, x in zip(self.given, given, strict=True):
            own.copy_(x)
        self.graph.replay()
        return self.made
