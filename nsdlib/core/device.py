"""Device choice, conversion of arrays to tensors, checks for finite values, and CUDA graphs."""

import numpy as np


def pick_device(name="auto"):
    """Choose the torch.device of a run: "cpu", "cuda", or with "auto" a CUDA device if there is one, else the CPU.

    Raises ValueError for another name, and for "cuda" without a CUDA device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {name!r}.")
    import torch

    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ValueError(
            "device is 'cuda', but torch finds no CUDA device; use device='auto' or 'cpu', or check the driver with nvidia-smi."
        )
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def to_tensor(values, device="cpu", dtype=None):
    """Convert a bool, integer or floating array of any byte order and strides to a tensor, which shares its memory if possible.

    The tensor has the type of the array unless `dtype` is given.
    """
    import torch

    if not isinstance(values, torch.Tensor):
        values = np.asarray(values)
        values = np.ascontiguousarray(values) if min(values.strides, default=0) < 0 else values
        values = torch.from_numpy(np.require(values, values.dtype.newbyteorder("="), "W"))
    return values.to(device, dtype)


def check_finite(name, values, image_ids=None):
    """Return the values (n_images, ...) unchanged if all are finite real numbers.

    Raises ValueError for an array of another type, and if values are NaN or infinite (float16 overflows above 65,504). The
    message names the array by `name`, and the images by `image_ids` (n_images,) or by row.
    """
    if getattr(values, "dtype", np.dtype(object)).kind not in "biuf":
        raise ValueError(f"{name} must be an array of real numbers, got {getattr(values, 'dtype', type(values).__name__)}")
    rows = [row for row, value in enumerate(values) if not np.isfinite(value).all()]
    if rows:
        n_bad = sum(np.count_nonzero(~np.isfinite(values[row])) for row in rows)
        kind, labels = ("rows", rows) if image_ids is None else ("images", np.asarray(image_ids)[rows].tolist())
        listed = ", ".join(map(str, labels[:5])) + (", ..." if len(labels) > 5 else "")
        raise ValueError(f"{name} holds {n_bad} values that are not finite numbers, in {kind} {listed}")
    return values


class Captured:
    """A function of tensors of fixed shapes; on a GPU, the second call captures it as a CUDA graph and later calls replay it.

    A replay avoids about a thousand kernel launches, which dominate for small batches. Each call overwrites the last result.
    """

    def __init__(self, function):
        self.function, self.n_calls, self.graph = function, 0, None

    def __call__(self, *inputs):
        """Call the function; the first call is not captured, so that libraries can choose their kernels."""
        self.n_calls += 1
        if self.n_calls == 1 or not inputs[0].is_cuda:
            return self.function(*inputs)
        import torch

        if self.graph is None:
            self.inputs, graph = [x.clone() for x in inputs], torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.output = self.function(*self.inputs)
            self.graph = graph
        for buffer, x in zip(self.inputs, inputs, strict=True):
            buffer.copy_(x)
        self.graph.replay()
        return self.output
