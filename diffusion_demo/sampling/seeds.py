"""Seeds of the noise: the same noise for the same seed, other noise for every other seed and for every stage."""

from hashlib import blake2s

import torch


def generator_for(seed: int, stage: str = "") -> torch.Generator:
    """Return a new CPU generator for a seed of any size. Each stage, such as "upsample", draws other numbers.

    torch's Mersenne Twister uses the low 32 bits of a seed only. So the stage and the higher bits are mixed in by a
    hash. Seeds below 2**32 without a stage are used as they are.
    """
    if stage or not 0 <= seed < 2**32:
        seed = int.from_bytes(blake2s(f"{stage}:{seed}".encode(), digest_size=4).digest(), "big")
    return torch.Generator().manual_seed(seed)
