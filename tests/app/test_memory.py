"""How much freed memory the C library keeps."""

import platform
import re
import subprocess
import sys

import pytest

from app.memory import ARENAS

#: Ten threads allocate at once and wait for each other; then glibc describes its arenas, an element each.
THREADS = """
import ctypes, sys, threading
{first}
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(10)
def allocate():
    together.wait()
    for _ in range(100):
        libc.malloc(100_000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


def arenas(first: str) -> int:
    said = subprocess.run(
        [sys.executable, "-c", THREADS.format(first=first)],
        capture_output=True,
        text=True,
        check=True,
    )
    return len(re.findall(r"<heap nr=", said.stdout))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
def test_threads_share_few_arenas() -> None:
    """Each arena keeps what a thread once needed: a server has many threads, and few arenas."""
    assert arenas("from app.memory import keep_little; keep_little()") <= ARENAS
    assert arenas("") > ARENAS
