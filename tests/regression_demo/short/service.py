"""Counts the words of documents, several at once."""

import threading
import zlib

TEXT = b"it was the best of times, it was the worst of times " * 60
PACKED = zlib.compress(TEXT * 6)

READERS = 3


def unpack() -> bytes:
    return zlib.decompress(PACKED)


def words(text: bytes) -> int:
    count = 0
    for word in text.split():
        count += word.isalpha()
    return count


def read(documents: int) -> None:
    for _ in range(documents):
        words(unpack())


def read_all(documents: int) -> None:
    threads = [threading.Thread(target=read, args=(documents,)) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
