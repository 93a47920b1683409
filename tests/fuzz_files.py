"""Inputs of `test_fuzz.py`: for each reader a valid file, the call that reads it, and malicious files."""

import gzip
import json
import os
import pickle
import shutil
import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import h5py
import nibabel
import numpy as np
from scipy.io import loadmat, savemat

from nsdlib.core import weights
from nsdlib.data.nsd import layout as nsd_layout
from nsdlib.data.nsd import write as nsd_write
from nsdlib.data.nsd.subject import DEFAULT_VERSION, NSDSubject
from nsdlib.params import load_run
from nsdlib.store import sources
from nsdlib.store.store import Store

ROOT = Path(__file__).parents[1]
FEW = 500  # stimuli, so that the files about all of them are small
SHOWN = [3, 7]


@dataclass
class Case:
    """A file, how it is read, what shows that it was read rightly, its forms to begin with, and files made to do harm."""

    path: Path
    read: callable
    right: callable
    wholes: list
    made: list
    packed: bool = False  # damage is done to the unpacked bytes as well


@cache
def zeros(n_gigabytes, wrap):
    """Packed zeros that unpack to so many gigabytes: one block repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, {"gzip": 31, "zlib": 15}[wrap])
    if wrap == "gzip":
        return (packer.compress(bytes(2**26)) + packer.flush()) * (16 * n_gigabytes)
    begin = packer.compress(b"\0") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**26)) + packer.flush(zlib.Z_FULL_FLUSH)
    return begin + block * (16 * n_gigabytes)


def hdf5(fill):
    """A function that writes an HDF5 file with `fill(file)`."""

    def write(path):
        with h5py.File(path, "w") as file:
            fill(file)

    return write


def brick(name, shape, dtype, **options):
    return hdf5(lambda file: file.create_dataset(name, shape, dtype, **options))


def hostile_hdf5(name, shape, dtype, *, chunk, corner):
    """Datasets of other shapes and types, enormous ones, bombs, and ones that lie elsewhere."""

    def bomb(file):
        data = file.create_dataset(name, shape, dtype, chunks=chunk, compression="gzip")
        data.id.write_direct_chunk(corner, zeros(4, "zlib"))

    return [
        brick(name, shape[::-1], dtype),
        brick(name, shape, np.float64, chunks=chunk),
        brick(name, shape, h5py.string_dtype(), chunks=chunk),
        brick(name, (2**40, *shape[1:]), dtype, chunks=chunk),
        brick(name, tuple(2**20 * n for n in shape[:3]) + shape[3:], dtype, chunks=chunk),
        brick(name, (), dtype),
        brick(name, shape, dtype, chunks=shape, fillvalue=1) if np.prod(shape) > 2**28 else brick("other", shape, dtype),
        brick(name, shape, dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]),
        hdf5(lambda file: file.create_group(name)),
        hdf5(lambda file: file.__setitem__(name, h5py.ExternalLink("/etc/passwd", name))),
        hdf5(lambda file: file.__setitem__(name, h5py.SoftLink(f"/{name}"))),
        hdf5(lambda file: file.create_virtual_dataset(name, h5py.VirtualLayout(shape, dtype))),
        hdf5(bomb),
    ]


def images(subject, layout):
    ids = subject.image_ids[:2]
    true = subject.stimuli(ids)
    nsd_layout.N_STIMULI = FEW
    with nsd_write.stimulus_files(layout) as fill:
        for image_id, image in zip(SHOWN, true, strict=True):
            fill(image_id, image, "")
    shape, corner = (FEW, 425, 425, 3), (SHOWN[0], 0, 0, 0)
    return Case(
        layout.stimuli, lambda: fresh(layout).stimuli(SHOWN), lambda found: found.shape == true.shape,
        [layout.stimuli.read_bytes()], hostile_hdf5("imgBrick", shape, np.uint8, chunk=(1, *shape[1:]), corner=corner),
    )  # fmt: skip


def betas(subject, layout):
    path = layout.betas(DEFAULT_VERSION, 1, "hdf5")
    mask = few_voxels(subject)
    shape, (x, y, z) = (750, *mask.shape[::-1]), np.argwhere(mask)[0]
    return Case(
        path, lambda: fresh(layout).betas(1, mask), lambda found: found.shape == (750, 12) and np.isfinite(found).all(),
        [path.read_bytes()], hostile_hdf5("betas", shape, np.int16, chunk=(750, 1, 1, 1), corner=(0, z, y, x)),
    )  # fmt: skip


def few_voxels(subject):
    mask = np.zeros(subject.brainmask.shape, bool)
    mask[tuple(np.argwhere(subject.brainmask)[:12].T)] = True
    return mask


def hostile_nifti(whole):
    """Headers that promise much or nonsense, and files that unpack to more than they promise."""
    unpacked = gzip.decompress(whole)

    def with_header(more=b"", **fields):
        header = nibabel.Nifti1Header(unpacked[:348], check=False)
        for name, value in fields.items():
            header[name] = value
        return gzip.compress(header.binaryblock + unpacked[348:], 1) + more

    return [
        with_header(dim=[4, 32767, 32767, 32767, 32767, 1, 1, 1]),
        with_header(dim=[7, *[32767] * 7]),
        with_header(dim=[3, -1, 1, 1, 1, 1, 1, 1], glmin=2**31 - 1),
        with_header(dim=[3, 0, 0, 0, 1, 1, 1, 1]),
        with_header(datatype=2048, bitpix=256),
        with_header(datatype=128, bitpix=24),
        with_header(datatype=64, bitpix=64),
        *(with_header(zeros(4, "gzip"), vox_offset=offset) for offset in (0, 352, 1e9, 1e30, np.inf, np.nan)),
        with_header(scl_slope=np.float32(3e38), scl_inter=3e38),
        with_header(scl_slope=1, scl_inter=np.nan),
        with_header(sform_code=1, srow_x=[np.nan] * 4),
        with_header(sform_code=0, qform_code=1, quatern_b=5),
        zeros(4, "gzip"),
        unpacked,
    ]


def nifti_betas(subject, layout):
    layout.betas(DEFAULT_VERSION, 1, "hdf5").unlink()
    path, mask = layout.betas(DEFAULT_VERSION, 1, "nii.gz"), few_voxels(subject)
    true = fresh(layout).betas(1, mask)
    return Case(
        path, lambda: fresh(layout).betas(1, mask), lambda found: (found == true).all(),
        [path.read_bytes()], hostile_nifti(path.read_bytes())[:-6],
    )  # fmt: skip


def volume(subject, layout):
    path, shape = layout.roi("nsdgeneral"), subject.brainmask.shape
    return Case(
        path, lambda: fresh(layout).roi("nsdgeneral"), lambda found: (found.shape, found.dtype) == (shape, np.int16),
        [path.read_bytes()], hostile_nifti(path.read_bytes()), packed=True,
    )  # fmt: skip


def affine(_, layout):
    path = layout.volume("brainmask")
    return Case(
        path, lambda: fresh(layout).affine, lambda found: found.shape == (4, 4) and np.isfinite(found).all(),
        [path.read_bytes()], hostile_nifti(path.read_bytes()), packed=True,
    )  # fmt: skip


def mat(values, **options):
    """The bytes of a file of MATLAB."""
    file = BytesIO()
    savemat(file, values, **options)
    return file.getvalue()


def expdesign(_, layout):
    path = layout.expdesign
    held = {name: values for name, values in loadmat(path).items() if name[0] != "_"}
    packed = path.read_bytes()
    plain = mat(held)
    cells = np.full((1, 30000), "", dtype=object)
    sizes = [plain.replace(struct.pack("<ii", 1, 30000), struct.pack("<ii", *new)) for new in ((2**31 - 1,) * 2, (-1, 30000))]
    bomb = zeros(4, "zlib")
    made = [mat(held | values) for values in (
        {"masterordering": cells},
        {"masterordering": np.full((1, 30000), np.nan)},
        {"masterordering": np.full((1, 30000), 1.5)},
        {"masterordering": np.full((1, 30000), 1j)},
        {"sharedix": np.zeros((1, 1000))},
        {"subjectim": held["subjectim"].T},
        {"stimpattern": "text"},
    )]  # fmt: skip
    made += [mat({"sharedix": held["sharedix"]}, format="4"), *sizes, plain + packed[128:]]
    made += [packed[:128] + struct.pack("<II", 15, len(bomb)) + bomb, packed[:128] + struct.pack("<II", 14, 2**32 - 1) + bomb]
    return Case(
        path, lambda: fresh(layout).expdesign,
        lambda found: found["subjectim"].shape == (8, 10000) and set(np.unique(found["stimpattern"])) <= {0, 1},
        [packed, plain], made,
    )  # fmt: skip


def captions(subject, layout):
    texts = subject.captions(subject.image_ids[:2])
    nsd_layout.N_STIMULI = FEW
    table = np.full((FEW, 5), "", "<U120")
    table[SHOWN] = texts
    np.save(layout.captions, table)
    whole = layout.captions.read_bytes()

    def header(shape, dtype="<U120"):
        text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + whole[128:]

    def newer(version):
        return b"\x93NUMPY%c\0" % version + struct.pack("<I", 118) + whole[10:]

    def several(path):
        with path.open("wb") as file:
            np.savez(file, table=table)

    made = [header((2**40, 5)), header((FEW, 5, 2**50)), header((FEW, 5), "<U2147483647"), header((FEW, 5), "|O")]
    made += [header((-1, 5)), header((5, FEW)), header((FEW, 5), "<f8"), header((FEW, 10), "<U60"), several]
    made += [
        pickle.dumps(table),
        *(b"\x93NUMPY%c\0\xff\xff\xff\xff" % version + b"(" * 10**6 for version in (2, 3, 4)),
        b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10**4,
    ]
    return Case(
        layout.captions, lambda: fresh(layout).captions(SHOWN),
        lambda found: len(found) == 2 and all(isinstance(text, str) for one in found for text in one),
        [whole, newer(2), newer(3)], made,
    )  # fmt: skip


def stim_info(subject, layout):
    rows = layout.stim_info.read_text().splitlines(keepends=True)
    nsd_layout.N_STIMULI = FEW
    whole = "".join(rows[: FEW + 1])
    made = [whole.replace("nsdId", "id"), whole.replace("False", "maybe"), whole.replace("0", "9" * 400), rows[0], "," * 1000]
    made += [whole.replace(",", "\0"), whole.replace("\n", '"\n'), "".join(rows[: FEW + 2]), "\ufeff\n" * 10, "a,a\n1,2\n"]
    return Case(
        layout.stim_info, lambda: fresh(layout).stim_info(),
        lambda found: len(found) == FEW and found["nsdId"].dtype.kind in "iu",
        [whole.encode()], [text.encode() for text in made],
    )  # fmt: skip


def responses(_, layout):
    whole = layout.responses.read_bytes()
    made = [whole.replace(b"73KID", b"ID"), whole.replace(b"\t", b","), b"\t" * 1000, whole.replace(b"1", b"\xff")]
    return Case(
        layout.responses, lambda: fresh(layout).responses(),
        lambda found: len(found) == 750 and found["73KID"].dtype.kind in "iu",
        [whole], made,
    )  # fmt: skip


def design(_, layout):
    path = layout.design(1, 1)
    whole = path.read_bytes()
    made = [b"0\n" * 225, whole.replace(b"0\n", b"0.5\n"), b"9" * 5000, whole.replace(b"\n", b"\n-"), whole * 2, b"7\n" * 10**6]
    return Case(
        path, lambda: fresh(layout).design(1, 1),
        lambda found: found.shape == (225,) and np.count_nonzero(found) == 63 and 0 <= found.min() <= found.max() <= 73000,
        [whole], made,
    )  # fmt: skip


def parameters(_, layout):
    path = project(layout) / "params" / "mine.yaml"
    whole = (ROOT / "params" / "small.yaml").read_bytes()
    made = [
        b"a0: &a0 [1, 1]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (i, i, i - 1, i - 1) for i in range(1, 60)),
        b"a0: &a0 {x: 1}\n" + b"".join(b"a%d: &a%d {<<: [*a%d, *a%d]}\n" % (i, i, i - 1, i - 1) for i in range(1, 60)),
        b"&a [*a]", b"group: " + b"[" * 10**4, b"{" * 10**4, b"seed: !!bool x", b"seed: !!timestamp x", b"seed: !!int ''",
        b"roi: !!python/object/apply:os.system ['true']", b"data: \"a\\0b\"", b"seed: " + b"9" * 5000, b"? [1]\n: 2", b"1: 2",
        b"seed: 2001-99-99", b"quality: .inf",
        b"alphas: [.nan]", b"--- 1\n--- 2", b"\xff\xfe", b"simulation: {shape: [10000, 9, 9]}",
    ]  # fmt: skip
    return Case(path, lambda: load_run("mine"), lambda run: run.name == "mine", [whole], made)


def project(layout):
    """A project of its own, in which runs are found."""
    home = layout.root / "project"
    for name in ("params", "notebooks"):
        shutil.copytree(ROOT / name, home / name)
    os.environ["NSDLIB_HOME"] = str(home)
    return home


def stored(layout):
    import xarray as xr

    project(layout)
    store = Store(load_run("small"))
    true = xr.Dataset({"betas": (("trial", "voxel"), np.arange(600, dtype=np.float32).reshape(20, 30))}, {"trial": np.arange(20)})
    store.save("glm", true).close()

    def read():
        sources._hash_of.cache_clear()  # the clock of the files is too coarse for states that follow each other so fast
        with store.load("glm") as found:
            return found.load()

    return store.path("glm"), read, true


def arrays(_, layout):
    folder, read, true = stored(layout)
    path = folder / "arrays.nc"
    return Case(path, read, true.identical, [path.read_bytes()], [])


def manifest(_, layout):
    folder, read, true = stored(layout)
    whole = (folder / "manifest.json").read_bytes()
    made = [b"[" * 10**5, b"null", b"[]", b"{}", b'{"sha256": 1}', whole.replace(b'"run"', b'"ran"'), b"9" * 5000, b"\xff"]
    path = folder / "manifest.json"
    return Case(path, read, true.identical, [whole], made)


def held(path, true, wholes):
    """A function that tells whether tensors are those of a whole file, or of a damaged one could be what it holds."""

    def right(found):
        same = found.keys() == true.keys() and all(found[name].equal(true[name]) for name in true)
        return same or (path.read_bytes() not in wholes and sum(one.nbytes for one in found.values()) <= path.stat().st_size)

    return right


def safetensors(_, layout):
    import torch
    from safetensors.torch import save

    true = {"a": torch.arange(12.0).reshape(3, 4), "b": torch.ones(5, dtype=torch.int64)}

    def header(length=None, **tensors):
        text = json.dumps(tensors).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + bytes(64)

    huge = {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 64]}
    made = [
        header(2**60),
        header(a=huge),
        header(a=huge | {"shape": [16], "data_offsets": [0, 2**62]}),
        header(a={}),
        b"[" * 10**5,
    ]
    path = layout.root / "model.safetensors"
    return Case(path, lambda: weights.read_tensors(path), held(path, true, wholes := [save(true)]), wholes, made)


def torch_weights(_, layout):
    import torch

    path, state = layout.root / "model.pth", {"a": torch.arange(12.0).reshape(3, 4)}
    wholes = []
    for packed in (True, False):
        torch.save(state, path, _use_new_zipfile_serialization=packed)
        wholes.append(path.read_bytes())
    made = [pickle.dumps(Counter), wholes[0][:4] + zeros(1, "zlib"), b"PK\x05\x06" + bytes(18)]
    return Case(path, lambda: weights.read_tensors(path), held(path, state, wholes), wholes, made)


READERS = {make.__name__: make for make in (
    images, betas, nifti_betas, volume, affine, expdesign, captions, stim_info, responses, design, parameters, arrays, manifest,
    safetensors, torch_weights,
)}  # fmt: skip


def fresh(layout):
    """The subject, with nothing remembered."""
    return NSDSubject(layout.root, layout.subject, 1)
