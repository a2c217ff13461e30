"""The members of an `.npz` that may come from a stranger: nothing unpacks to more than the file itself holds.

What a zip file and an array say of themselves may be lies. So every size is held against the bytes that are there before
memory is taken for it.
"""

from __future__ import annotations

import io
import math
import re
import zipfile

import numpy as np

#: Kinds of NumPy's dtypes that hold plain values.
PLAIN = "biufcSU"

_NAME = re.compile(r"(?:manifest|checksum|state[A-Za-z0-9_./~-]*)\.npy")


def members(data: bytes) -> dict[str, bytes]:
    """The members of an uncompressed archive, by name without `.npy`.

    Raises:
      ValueError: a member is compressed, is there twice, has a name that no checkpoint gives, or all of them together
        would be larger than the archive.
      zipfile.BadZipFile: it is no archive.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        names = [info.filename for info in infos]
        for info in infos:
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise ValueError(f"its member '{info.filename}' is compressed, to {info.file_size} bytes unpacked")
            if not _NAME.fullmatch(info.filename):
                raise ValueError(f"it has a member {info.filename!r}, which no checkpoint has")
        if len(set(names)) < len(names):
            raise ValueError("it has two members of one name")
        # Entries that lie on top of one another would make much of little.
        if sum(max(info.file_size, info.compress_size) for info in infos) > len(data):
            raise ValueError("its members are larger than itself")
        return {info.filename.removesuffix(".npy"): archive.read(info) for info in infos}


def array(blob: bytes) -> np.ndarray:
    """The array in the bytes of an `.npy` file.

    Raises:
      ValueError: it is none of plain values, or its shape is not that of the bytes behind its header.
    """
    file = io.BytesIO(blob)
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"an array has the format {version}")
    shape, fortran, dtype = readers[version](file)
    if dtype.kind not in PLAIN:
        raise ValueError(f"it holds an array of {dtype}")
    if min(shape, default=0) < 0 or math.prod(shape) * max(dtype.itemsize, 1) > max(len(blob), 1):
        raise ValueError(f"an array of shape {shape} has {len(blob) - file.tell()} bytes")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
