"""Stores uploads, compressed by a pool of threads that is wider than a small machine."""

import json
import zlib
from concurrent.futures import ThreadPoolExecutor

WORKERS = 5

UPLOAD = bytes(range(256)) * 1500


def accept(upload: bytes) -> bool:
    return upload[:1] != b"#"


def describe(upload: bytes) -> str:
    return json.dumps({str(at): upload[at] for at in range(1000)})


def store(upload: bytes) -> int:
    if not accept(upload):
        return 0
    return len(zlib.compress(upload, 6)) + len(describe(upload))


def store_all(uploads: int) -> list[int]:
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="uploads") as pool:
        return list(pool.map(store, [UPLOAD] * uploads))
