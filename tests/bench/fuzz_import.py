"""Mutated TensorFlow Lite, Keras, safetensors, ONNX and checkpoint files: no crash, no traceback, bounded memory and time.

    python -m tests.bench.fuzz_import [FILES] [SEED]

Bytes, lengths and offsets are changed, mostly near the start, where the headers are. TensorFlow Lite and Keras files are those
beside the checkout, if they are there. Files are imported in processes of their own, so that a crash of a parser is seen.
"""

import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from random import Random

import torch
from safetensors.numpy import save_file

from mnsweep.arch.expand import expand
from mnsweep.cell import Design
from mnsweep.errors import MnsweepError
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.torch_net import to_torch
from mnsweep.graph.weights import random_weights
from mnsweep.importing.read import Asked, import_file
from mnsweep.importing.trained import Provenance, Trained, to_bytes
from mnsweep.pictures.preprocessing import Preprocessing
from tests.bench.figure import Figures
from tests.checkpoints import slim_arrays, write_checkpoint
from tests.real_files import QUANTIZED_128, WAKE_WORDS

FILES, AT_ONCE, MOST_S, MOST_GIB = 10_000, 250, 5.0, 1.0
KNOWN = Asked(conv_padding="same", epsilon=1e-3)
DESIGN = Design.of(0.25, 64, classes=12)
NO_SIZE = (".index", ".pth", ".safetensors")  # files that do not say their resolution
LARGE = (0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1)


def mutated(content: bytes, rng: Random) -> bytes:
    """The content with a few bytes, lengths or offsets changed, or cut."""
    changed = bytearray(content)
    near = min(len(changed), rng.choice([64, 512, 4096, len(changed)]))
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(near)
        if rng.random() < 0.5:
            changed[at] = rng.randrange(256)
        else:
            size = rng.choice([4, 8])
            number = rng.choice([*LARGE, len(content), rng.randrange(2**32)]) % 2 ** (8 * size)
            changed[at : at + size] = number.to_bytes(size, "little")
    if rng.random() < 0.1:
        del changed[rng.randrange(len(changed)) :]
    return bytes(changed)


def samples(folder: Path) -> list[Path]:
    """A sound file of each format."""
    weights = random_weights(expand(DESIGN))
    save_file(
        {name: array.numpy() for name, array in to_torch(expand(DESIGN), weights).state_dict().items()},
        folder / "net.safetensors",
    )
    own = Trained(design=DESIGN, weights=weights, preprocessing=Preprocessing(), provenance=Provenance("f", "0" * 64, "torch"))
    (folder / "own.safetensors").write_bytes(to_bytes(own))
    (folder / "net.onnx").write_bytes(build_onnx(expand(DESIGN), weights))
    torch.save(to_torch(expand(DESIGN), weights).state_dict(), folder / "net.pth")
    made = [folder / "net.pth", folder / "net.safetensors", folder / "own.safetensors", folder / "net.onnx"]
    made.append(write_checkpoint(folder / "net.ckpt", slim_arrays(expand(DESIGN), weights)))
    real = [QUANTIZED_128, *WAKE_WORDS.values()]
    return [*made, *(path for path in real if path.is_file())]


def try_files(sources: Sequence[Path], seeds: Sequence[int]) -> tuple[Counter[str], float, float]:
    """What came of so many mutated files, the longest time in s, and the memory of this process in GiB."""
    found: Counter[str] = Counter()
    longest_s = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            rng = Random(seed)
            source = sources[seed % len(sources)]
            file = Path(folder) / source.name
            file.write_bytes(mutated(source.read_bytes(), rng))
            if source.suffix == ".index":
                shard = source.with_name("net.ckpt.data-00000-of-00001")
                file.with_name(shard.name).write_bytes(shard.read_bytes())
            began = time.perf_counter()
            try:
                import_file(file, replace(KNOWN, res=64) if source.suffix in NO_SIZE else KNOWN)
                found[f"{source.suffix}: imported"] += 1
            except MnsweepError as error:
                found[f"{source.suffix}: {'refused' if chr(10) not in str(error) else 'several lines'}"] += 1
            except BaseException as error:
                found[f"traceback: {type(error).__name__}: {error}"] += 1
            longest_s = max(longest_s, time.perf_counter() - began)
    return found, longest_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(files: int = FILES, seed: int = 0) -> None:
    figures, found, longest_s, gib = Figures(), Counter[str](), 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        sources = samples(Path(folder))
        for start in range(seed, seed + files, AT_ONCE):  # a process of its own each, so that a crash names its files
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                part, part_s, part_gib = pool.submit(
                    try_files, sources, range(start, min(start + AT_ONCE, seed + files))
                ).result()
            found, longest_s, gib = found + part, max(longest_s, part_s), max(gib, part_gib)
    for what, number in sorted(found.items()):
        figures.report(what, number, "files")
    wrong = sum(number for what, number in found.items() if "traceback" in what or "lines" in what)
    figures.at_most(f"of {files} mutated files, those that were not one line", wrong, 0, "")
    figures.at_most("longest import", longest_s, MOST_S, "s")
    figures.at_most("memory of the process", gib, MOST_GIB, "GiB")
    figures.finish()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
