"""Damages bytes at random but with a seed, some fifty times as fast as hypothesis makes an input."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

MOST_CHANGES = 4
SLICE_BYTES = 40


def _slice(random_: random.Random, sample: bytes) -> slice:
    start = random_.randint(0, len(sample))
    return slice(start, min(len(sample), start + random_.randint(1, SLICE_BYTES)))


def _changed(
    random_: random.Random, sample: bytes, corpus: Sequence[bytes], words: Sequence[bytes]
) -> bytes:
    part = _slice(random_, sample)
    match random_.randrange(7):
        case 0:
            return sample[: part.start] + random_.randbytes(1) + sample[part.start + 1 :]
        case 1:
            return sample[: part.start] + sample[part.stop :]
        case 2:
            return sample[: part.stop] + sample[part] * random_.randint(1, 20) + sample[part.stop :]
        case 3:
            return sample[: part.start] + random_.choice(words) + sample[part.start :]
        case 4:
            return sample[: part.start] + random_.choice(words) + sample[part.stop :]
        case 5:
            other = random_.choice(corpus)
            return sample[: part.start] + other[random_.randint(0, len(other)) :]
        case _:
            return sample[: part.start]


def damaged(
    corpus: Sequence[bytes], words: Sequence[bytes], count: int, seed: int = 0
) -> Iterator[bytes]:
    """So many inputs: samples of the corpus after one to four changes, with words that matter to the parser."""
    random_ = random.Random(seed)
    for _ in range(count):
        sample = random_.choice(corpus)
        for _ in range(random_.randint(1, MOST_CHANGES)):
            sample = _changed(random_, sample, corpus, words)
        yield sample


def pieces(sample: bytes, seed: int) -> list[bytes]:
    """The sample whole, or cut at up to three random places."""
    random_ = random.Random(seed)
    cuts = sorted(random_.randint(0, len(sample)) for _ in range(random_.randrange(4)))
    return [sample[start:end] for start, end in zip([0, *cuts], [*cuts, len(sample)], strict=True)]
