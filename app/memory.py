"""What the C library keeps of memory that was freed: little."""

from __future__ import annotations

import contextlib
import ctypes

#: Parameters of mallopt(3), from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
#: Threads allocate from so many arenas; of glibc's own choice there are eight a core, and each keeps what it once needed.
ARENAS = 2
#: From this size on a block is mapped by itself, and unmapped when it is freed. Left to itself, glibc raises the
#: bound up to 32 MB with what it sees freed, and the tensors of a long text then leave holes in the arenas.
MAPPED_BYTES = 512 * 1024


def keep_little() -> None:
    """Bound what freed memory the C library keeps; before there are threads. Elsewhere than on glibc nothing is done."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_ARENA_MAX, ARENAS)
        libc.mallopt(_MMAP_THRESHOLD, MAPPED_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, MAPPED_BYTES)


def give_back() -> None:
    """Hand freed memory back now: loading a model leaves 60 MB of it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
