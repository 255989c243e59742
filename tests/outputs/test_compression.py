"""Bodies as gzip, by ISA-L and by zlib."""

import gzip
import random

import pytest

from siemtap.outputs.compression import compress

RANDOM = random.Random(5)
LINE = b'{"create":{}}\n{"source":{"ip":"192.0.2.%d"},"message":"%s"}\n'
BODY = b"".join(LINE % (n % 256, RANDOM.randbytes(8).hex().encode()) for n in range(5_000))


@pytest.mark.parametrize("level", range(1, 10))
@pytest.mark.parametrize("body", [b"", b"x", BODY, RANDOM.randbytes(100_000)])
def test_every_level_gives_the_body_back(body, level):
    assert gzip.decompress(compress(body, level)) == body


def test_fast_levels_are_about_as_small_as_those_of_zlib():
    sizes = {level: len(compress(BODY, level)) for level in (1, 3, 4, 9)}
    assert sizes[1] == sizes[3] < 1.1 * len(gzip.compress(BODY, 1))
    assert sizes[4] > sizes[9] == len(gzip.compress(BODY, 9))
