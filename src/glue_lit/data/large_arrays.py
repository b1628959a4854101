"""Arrays that grow by parts and are written to a file without being in memory as a whole."""

import contextlib
import json
import os
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_HELD = 1 << 22  # bytes of one array in memory; beyond them, a temporary file holds it
_TYPES = {"int64": "I64", "int32": "I32", "float32": "F32", "uint8": "U8"}  # as safetensors calls them


class GrowingArray:
    """A flat array to which parts are appended: in memory while it is small, else in a temporary file without a name.

    Args:
        dtype: Type of its numbers.
        folder: Folder of the temporary file. Where none can be written, the array stays in memory.
    """

    def __init__(self, dtype: str, folder: Path | None = None) -> None:
        self._dtype = np.dtype(dtype)
        self._folder = folder
        self._parts: list[NDArray[Any]] = []
        self._held = 0
        self._file: IO[bytes] | None = None

    def append(self, part: Any) -> None:
        """Append some numbers."""
        self._parts.append(np.ascontiguousarray(part, dtype=self._dtype))
        self._held += self._parts[-1].nbytes
        if self._held >= _HELD and self._folder is not None:
            self._move_to_file(self._folder)

    def _move_to_file(self, folder: Path) -> None:
        done = 0
        try:
            if self._file is None:
                folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - lives with the array
                weakref.finalize(self, self._file.close)
            done = self._file.tell()
            for part in self._parts:
                left = part.view(np.uint8).data
                while left:
                    left = left[self._file.write(left) :]
        except OSError:  # a full disk, or a folder that cannot be written
            self._folder = None
            if self._file is not None:
                self._file.truncate(done)
        else:
            self._parts, self._held = [], 0

    def array(self) -> NDArray[Any]:
        """The whole array, ``(n,)``; what is in the file is mapped into memory."""
        if self._file is not None and self._parts and self._folder is not None:
            self._move_to_file(self._folder)  # else all would be copied into memory, to be joined with the last parts
        parts = self._parts
        if self._file is not None and (size := self._file.seek(0, 2)):
            # "c": torch wants arrays that can be written, and nobody writes to them
            mapped = np.memmap(self._file, self._dtype, "c", shape=(size // self._dtype.itemsize,))
            parts = [mapped.view(np.ndarray), *parts]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, self._dtype), *parts])


def scratch_array(size: int, dtype: str, folder: Path | None) -> NDArray[Any]:
    """An array to be filled, ``(size,)``; a large one is mapped from a temporary file without a name.

    Its pages belong to the file, so the system can write them out and drop them where memory is short.

    Args:
        size: How many numbers it has.
        dtype: Their type.
        folder: Folder of the temporary file. Where none can be written, the array is in memory.
    """
    number = np.dtype(dtype)
    if folder is not None and size * number.itemsize >= _HELD:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
                _reserve(file, size * number.itemsize)
                return np.memmap(file, number, "r+", shape=(size,)).view(np.ndarray)
    return np.empty(size, number)


def _reserve(file: IO[bytes], size: int) -> None:
    """Make a file so large that writing to its pages cannot fail, which would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    zeros, left = memoryview(bytes(_HELD)), size
    while left:
        left -= file.write(zeros[:left])


def parts_of(size: int, most: int = 1 << 18) -> Iterator[slice]:
    """Consecutive slices of at most ``most`` items, which together are ``size``."""
    return (slice(start, min(start + most, size)) for start in range(0, size, most))


def write_arrays(file: IO[bytes], arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write arrays in the format of safetensors, whose own function first copies them all into memory.

    Raises:
        OSError: The file cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    ordered = sorted(arrays.items(), key=lambda pair: -pair[1].itemsize)  # so that every one is aligned
    end = 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        header[name] = {"dtype": _TYPES[str(array.dtype)], "shape": array.shape, "data_offsets": [start, end]}
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % 8)
    file.write(len(words).to_bytes(8, "little") + words)
    for _, array in ordered:
        file.write(np.ascontiguousarray(array).view(np.uint8).data)


def mark_used(used: NDArray[np.bool_], tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Mark some tokens as used: ``used[token]`` becomes true; it is changed in place, or a longer array is returned."""
    if len(tokens) and (missing := int(tokens.max()) + 1 - len(used)) > 0:
        used = np.pad(used, (0, missing))
    used[tokens] = True
    return used
