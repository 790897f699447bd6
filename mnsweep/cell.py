"""A design (what), a deployment (how), and the two together: a cell, one point on a plot.

A cell has an id that is a file name and reads back to the cell:

>>> cell = Cell(Design(0.25, 128), Deployment(threads=2))
>>> cell.id
'a0.25_r128_t2'
>>> parse_cell(cell.id) == cell
True
"""

import math
import re
from dataclasses import dataclass, field, fields

from mnsweep.errors import MnsweepError

ALPHA_RANGE = (0.0, 2.0)  # open below, closed above
RESOLUTION_RANGE = (32, 1024)  # pixels: five halvings need 32; 1024 keeps activations below 200 MB
MOBILENETS = ("mobilenet", "full-conv", "shallow", "conv-bias")  # of any width, at any resolution
NATIVE_RESOLUTION = {"alexnet": 227, "squeezenet": 227, "vgg16": 224, "googlenet": 224, "inception-v3": 299}  # of the others
TASK_CLASSES = {  # outputs that a task has where nobody says how many
    "classify": 1000,
    "dogs": 120,  # breeds of Stanford Dogs
    "planet": 26_263,  # cells of the globe, Weyand et al. 2016
    "attributes": 40,  # an assumption: as many as CelebA has; the paper does not say
    "embedding": 128,  # Schroff et al. 2015
    "ssd": 91,  # COCO's category ids up to 90, and the background
    "faster-rcnn": 91,
}
DETECTION = ("ssd", "faster-rcnn")
CLASSIFICATION = ("classify", "dogs", "planet")
CHOICES: dict[str, tuple[str, ...]] = {  # the first of each is the default
    "variant": (*MOBILENETS, *NATIVE_RESOLUTION),
    "task": tuple(TASK_CLASSES),
    "width_rule": ("paper", "round8"),
    "conv_padding": ("same", "keras", "symmetric"),
    "activation": ("relu6", "relu"),
    "precision": ("fp32", "bf16", "int8"),
    "runtime": ("onnxruntime", "openvino"),
}
MOST = 1_000_000  # classes, threads, images
COUNTS = {"classes": "c", "threads": "t", "batch": "b"}  # whole numbers and their letter in an id
PADS = ("auto", "none")  # or a multiple
PAD_RANGE = (2, 256)
_PROVIDER = re.compile(r"onnxruntime:[A-Za-z0-9]+ExecutionProvider")  # onnxruntime on something else than its CPU kernels


def _check_choices_and_counts(value: "Design | Deployment") -> None:
    for f in fields(value):
        got = getattr(value, f.name)
        if f.name in CHOICES and got not in CHOICES[f.name] and not (f.name == "runtime" and _PROVIDER.fullmatch(str(got))):
            raise MnsweepError(f"{f.name} {got!r} is unknown: choose from {', '.join(CHOICES[f.name])}")
        if f.name in COUNTS and not (type(got) is int and 1 <= got <= MOST):
            raise MnsweepError(f"{f.name} {got!r:.40} is not a whole number from 1 to {MOST:,}")


@dataclass(frozen=True, slots=True)
class Design:
    """One architecture: MobileNet at width multiplier `alpha` and input `resolution` in pixels.

    `width_rule` turns 32·alpha into a channel count: `paper` truncates (at least 8), `round8` rounds
    to a multiple of 8. `conv_padding` is the convention at stride 2 (TF-slim, Keras, PyTorch).
    `variant` may also name one of the paper's other forms of the network (`full-conv`, `shallow`), the one of MLPerf Tiny
    (`conv-bias`), or a network to compare with, which comes in one form only. `classes` is the number of outputs, the
    task's own (`TASK_CLASSES`) where it is left out. Source: Howard et al. 2017, sections 3.3, 3.4 and 4.
    """

    alpha: float
    resolution: int
    variant: str = "mobilenet"
    task: str = "classify"
    classes: int = None  # type: ignore[assignment]  # a number as soon as there is a design
    width_rule: str = "paper"
    conv_padding: str = "same"
    activation: str = "relu6"

    def __post_init__(self) -> None:
        if type(self.alpha) is int:
            object.__setattr__(self, "alpha", float(self.alpha))  # so that 1 and 1.0 have one id
        if self.classes is None and self.task in CHOICES["task"]:
            object.__setattr__(self, "classes", TASK_CLASSES[self.task])
        if not (type(self.alpha) is float and math.isfinite(self.alpha) and ALPHA_RANGE[0] < self.alpha <= ALPHA_RANGE[1]):
            raise MnsweepError(f"alpha {self.alpha!r} is outside (0, 2]: the width multiplier is above 0, at most 2")
        low, high = RESOLUTION_RANGE
        if not (type(self.resolution) is int and low <= self.resolution <= high):
            raise MnsweepError(f"resolution {self.resolution!r} is not a whole number of pixels from {low} to {high}")
        _check_choices_and_counts(self)
        if self.variant in NATIVE_RESOLUTION:
            _check_comparison(self)
            object.__setattr__(self, "activation", "relu")  # all of them have it

    @classmethod
    def of(cls, *args: object, **kw: object) -> "Design":
        return cls(*args, **kw)  # type: ignore[arg-type]

    @property
    def rho(self) -> float:
        """The paper's resolution multiplier: resolution / 224."""
        return self.resolution / 224


def _check_comparison(design: Design) -> None:
    """A network to compare with is what its authors published: nothing scales it."""
    name, resolution = design.variant, NATIVE_RESOLUTION[design.variant]
    if (design.alpha, design.resolution) != (1.0, resolution):
        got = f"not {design.alpha!r} at {design.resolution} px"
        raise MnsweepError(f"variant {name} has one size, {got}: write --alpha 1.0 --res {resolution}")
    for field_name in ("width_rule", "conv_padding"):
        if getattr(design, field_name) != CHOICES[field_name][0]:
            raise MnsweepError(f"variant {name} has no {field_name.replace('_', ' ')} to choose: leave it out")
    if design.task not in CLASSIFICATION:
        raise MnsweepError(f"task {design.task} needs a MobileNet, not {name}: leave --variant out")


@dataclass(frozen=True, slots=True)
class Deployment:
    """How a design is run: `threads` is the size of the runtime's pool, `batch` images go in at once.

    `runtime` may name an execution provider of onnxruntime behind a colon. `pad` is the channel padding as asked
    for: `none`, a multiple as `16`, or `auto`; what it came to is part of each measurement.
    """

    precision: str = "fp32"
    runtime: str = "onnxruntime"
    threads: int = 1
    batch: int = 1
    pad: str = "auto"

    def __post_init__(self) -> None:
        _check_choices_and_counts(self)
        low, high = PAD_RANGE
        if self.pad not in PADS and not (re.fullmatch("[1-9][0-9]{0,2}", str(self.pad)) and low <= int(self.pad) <= high):
            raise MnsweepError(f"pad {self.pad!r:.40} is unknown: choose from auto, none, or a multiple from {low} to {high}")


@dataclass(frozen=True, slots=True)
class Cell:
    """One design in one deployment."""

    design: Design
    deployment: Deployment = field(default_factory=Deployment)

    def __post_init__(self) -> None:
        task, how = self.design.task, self.deployment
        if task in DETECTION and how.precision != "fp32":
            raise MnsweepError(f"precision {how.precision}: task {task} runs in fp32 alone, boxes need it")
        if task in DETECTION and how.batch != 1:
            raise MnsweepError(f"batch {how.batch}: task {task} takes one image at a time")

    @property
    def id(self) -> str:
        """`a0.25_r128` and a suffix for each setting that is not the default; safe as a file name."""
        suffixes = (f"{_LETTERS.get(name, '')}{value}".replace(":", "-") for name, value in self.changed().items())
        return "_".join([f"a{self.design.alpha!r}", f"r{self.design.resolution}", *suffixes])

    def changed(self) -> dict[str, str | int]:
        """Every setting beside α and resolution that is not what it would be if nobody had said anything."""
        parts = ((self.design, _DESIGN_DEFAULTS), (self.deployment, _DEPLOYMENT_DEFAULTS))
        found = {name: value for part, own in parts for name, default in own if (value := getattr(part, name)) != default}
        if self.design.classes == TASK_CLASSES[self.design.task]:
            del found["classes"]
        if self.design.variant in NATIVE_RESOLUTION:
            found.pop("activation", None)
        return found

    def settings(self) -> dict[str, str | int | float]:
        """Every field of the design and the deployment, flat, in column order."""
        return {f.name: getattr(part, f.name) for part in (self.design, self.deployment) for f in fields(part)}


_ID = re.compile(r"a(?P<alpha>[0-9.e-]{1,30})_r(?P<resolution>[0-9]{1,9})(?P<rest>(_[^_]+)*)")
_FIELD_OF_CHOICE = {value: name for name, values in CHOICES.items() for value in values}
_LETTERS = {**COUNTS, "pad": "p"}
_FIELD_OF_LETTER = {letter: name for name, letter in COUNTS.items()}
# Looked up once: ids are asked for by the hundred thousand.
_DESIGN_DEFAULTS = [(f.name, f.default) for f in fields(Design) if f.name not in ("alpha", "resolution")]
_DEPLOYMENT_DEFAULTS = [(f.name, f.default) for f in fields(Deployment)]
_DEPLOYMENT_FIELDS = {name for name, _ in _DEPLOYMENT_DEFAULTS}


def parse_cell(text: str) -> Cell:
    """The cell whose id is `text`; raises `MnsweepError` for anything that is not an id."""
    match = _ID.fullmatch(text)
    if not match:
        raise MnsweepError(f"cell {text!r} is not an id: expected something like a0.25_r128 or a0.5_r160_t2")
    design: dict[str, object] = {}
    deployment: dict[str, object] = {}
    for suffix in match["rest"].split("_")[1:]:
        name, value = _parse_suffix(suffix, text)
        (deployment if name in _DEPLOYMENT_FIELDS else design)[name] = value
    try:
        cell = Cell(
            Design(float(match["alpha"]), int(match["resolution"]), **design),  # type: ignore[arg-type]
            Deployment(**deployment),  # type: ignore[arg-type]
        )
    except ValueError:
        raise MnsweepError(f"cell {text!r}: {match['alpha']!r} is not a number") from None
    if cell.id != text:
        raise MnsweepError(f"cell {text!r} is not written as an id is: write {cell.id}")
    return cell


def _parse_suffix(suffix: str, text: str) -> tuple[str, str | int]:
    if suffix in _FIELD_OF_CHOICE:
        return _FIELD_OF_CHOICE[suffix], suffix
    if re.fullmatch("p(none|[0-9]{1,9})", suffix):
        return "pad", suffix[1:]
    if _PROVIDER.fullmatch(suffix.replace("-", ":", 1)):
        return "runtime", suffix.replace("-", ":", 1)
    if suffix[:1] in _FIELD_OF_LETTER and re.fullmatch("[0-9]{1,9}", suffix[1:]):
        return _FIELD_OF_LETTER[suffix[0]], int(suffix[1:])
    raise MnsweepError(f"cell {text!r}: {suffix!r} is not a setting that this version of mnsweep knows")
