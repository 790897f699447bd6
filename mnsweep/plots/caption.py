"""The caption of every plot: the machine, the software, the number of samples, and the source of accuracies.

A plot that draws intervals adds a sentence about them with `with_intervals`.
"""

from collections.abc import Iterable, Mapping, Sequence

from mnsweep.estimate.fit import Movement
from mnsweep.machine.fingerprint import Machine
from mnsweep.record import Records
from mnsweep.result import PREDICTED, Result
from mnsweep.wording import count_of


def caption(sweep: str, results: Sequence[Result], records: Records, machine: Machine, movement: Movement) -> str:
    """Lines on the machine and the measurement, how much the machine's speed varied, and the source of accuracies.

    The line on the machine's speed is left out if nothing was measured.
    """
    settings = records.settings
    samples = sorted(r.samples for r in results if r.samples)
    sources = sorted({r.quality_source for r in results if r.quality_source})
    sustained = f", after {settings['sustain_s']:g} s of load" if settings.get("sustain_s") else ""
    speed = (
        f"Latencies are at the machine's typical speed; in 95 % of the rounds it was at most {movement.slower_pct:.1f} % "
        f"slower and {movement.faster_pct:.1f} % faster.\n"
    )
    return (
        f"Latency: {machine.title}; {_runtimes(results, settings)}; {_threads(results)}; {_precisions(results)}{sustained}; "
        f"{len(samples)} of {count_of(len(results), 'cell')} measured in interleaved rounds"
        f"{_samples_each(samples)}{_predicted(results)}.\n"
        f"{speed if samples else ''}Accuracy: {'; '.join(sources) or 'none is published for these designs'}. Sweep {sweep}."
    )


def with_intervals(caption: str, results: Iterable[Result]) -> str:
    """The caption, with a sentence about the 95 % intervals if any of the drawn `results` has one."""
    drawn = any(r.interval_ms for r in results)
    return (
        f"{caption} Thin bars include the changes in the machine's speed, which all cells share; thick ones compare cells."
        if drawn
        else caption
    )


def _samples_each(samples: Sequence[int]) -> str:
    """The range of `samples`, which are sorted, e.g. `, 120–3336 samples each`."""
    return f", {'–'.join(str(n) for n in dict.fromkeys((samples[0], samples[-1])))} samples each" if samples else ""


def _predicted(results: Sequence[Result]) -> str:
    predicted = sum(r.latency_source == PREDICTED for r in results)
    return f", {predicted} predicted" if predicted else ""


def _runtimes(results: Sequence[Result], settings: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {settings.get(name, '')}".strip() for name in dict.fromkeys(r.runtime for r in results))


def _precisions(results: Sequence[Result]) -> str:
    return ", ".join(dict.fromkeys(r.precision for r in results))


def _threads(results: Sequence[Result]) -> str:
    threads = sorted({r.threads for r in results})
    return f"{', '.join(map(str, threads))} thread{'s' if threads != [1] else ''}"
