"""Guards for files whose content is not trusted; any fault raises a `DamagedFile` that names the file.

Shape and type are checked before memory is allocated, nothing is unpickled, and no file may redirect the reader to another.
"""

import struct
import zlib
from contextlib import contextmanager

import numpy as np

MAX_CHUNK = 2**28  # bytes of an HDF5 chunk, uncompressed; NSD's own have 1,500 (betas) and 541,875 (images)
MAX_NPY_HEADER = 1000  # bytes; numpy passes the header to Python's parser, which nesting can exhaust
NPY = {b"\x93NUMPY\x01\0": 2, b"\x93NUMPY\x02\0": 4, b"\x93NUMPY\x03\0": 4}  # first bytes: size of the length field
MATLAB_NUMBERS = {"single", "double", "logical", *(f"{sign}int{n}" for sign in ("", "u") for n in (8, 16, 32, 64))}
HDF5_FILTERS = {1, 2, 3}  # deflate, shuffle, checksum: available in every HDF5


class DamagedFile(ValueError):
    """A file whose content is not what its place or name promises."""


@contextmanager
def reading(path):
    """Turn errors raised while a file is read into a `DamagedFile`; a missing or locked file keeps its own error."""
    try:
        yield
    except (DamagedFile, FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # libraries raise various errors for damaged files: KeyError, zlib.error, ...
        raise damaged(path, f"cannot be read ({type(error).__name__}: {error})") from error


def check_shape(name, shape, wanted):
    """Raise a `DamagedFile` if something in a file does not have the wanted shape."""
    if shape != wanted:
        raise DamagedFile(f"{name} has shape {shape}, wanted {wanted}: it belongs to another subject or is incomplete.")


def damaged(path, what):
    """Return the error for a file; `what` says what is wrong with it."""
    return DamagedFile(
        f"{path} {what}: it is damaged, or not in the form that is read here; get it again, or simulate the subject again."
    )


def npy_header(path, file):
    """Return the header of an open `.npy` file as bytes, without what precedes it; raises a `DamagedFile` unless it is short."""
    n_bytes = NPY.get(file.read(8))
    if n_bytes is None or (length := int.from_bytes(file.read(n_bytes), "little")) > MAX_NPY_HEADER:
        raise damaged(path, "is no array of NumPy's format 1.0, 2.0 or 3.0 with a short header")
    return file.read(length)


def own_dataset(path, file, name):
    """Return a dataset of an open HDF5 file (or group), if it lies in this file and its chunks can be decompressed safely."""
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        raise damaged(path, f"holds no dataset {name!r} of its own")
    data = file[name]
    if data.external or data.is_virtual:
        raise damaged(path, f"keeps {name} in other files")
    if data.chunks is None:
        return data
    size = int(np.prod(data.chunks, dtype=object)) * data.dtype.itemsize
    properties = data.id.get_create_plist()
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if size > MAX_CHUNK or not filters <= HDF5_FILTERS:
        raise damaged(path, f"has chunks of {size} bytes with the filters {sorted(filters)}")
    if filters and data.id.chunk_iter(lambda chunk: chunk.size > 2 * size + 1024 or None):
        raise damaged(path, f"has a compressed chunk that is larger than its {size} bytes uncompressed")
    return data


def check_unpacked_size(path, limit):
    """Refuse a MATLAB 5 file with a compressed element that is incomplete, or larger than `limit` bytes."""
    if path.stat().st_size > limit:
        raise damaged(path, f"is larger than {limit} bytes")
    data = path.read_bytes()
    byte_order = {b"IM": "<", b"MI": ">"}[data[126:128]]
    position = 128  # bytes of the file's header
    while position + 8 <= len(data):
        kind, size = struct.unpack(f"{byte_order}II", data[position : position + 8])
        if kind == 15:  # compressed
            unpacker = zlib.decompressobj()
            unpacker.decompress(data[position + 8 : position + 8 + size], limit)
            if not unpacker.eof:
                raise damaged(path, f"is cut off, or larger than {limit} bytes uncompressed")
        position += 8 + size
