"""A design (which network) and a deployment (how it runs) together are a cell: one point on a plot.

The id of a cell is safe as a file name, and `parse_cell` reads it back:

>>> cell = Cell(Design.of(0.25, 128), Deployment(threads=2))
>>> cell.id
'a0.25_r128_t2'
>>> parse_cell(cell.id) == cell
True
"""

import math
import re
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import lru_cache
from operator import attrgetter

from mnsweep.errors import MnsweepError
from mnsweep.names import SETTINGS, TASKS, VARIANTS, choices, is_choice
from mnsweep.options import plain

ALPHA_RANGE = (0.0, 2.0)  # open below, closed above
RESOLUTION_RANGE = (32, 1024)  # pixels: five halvings need 32; 1024 keeps activations below 200 MB
MOST = 1_000_000  # classes, threads, images
COUNTS = {"classes": "c", "threads": "t", "batch": "b"}  # settings with whole numbers, and their letters in an id
PADS = ("auto", "none")  # or a multiple
PAD_RANGE = (2, 256)


def _make_plain(value: "Design | Deployment") -> None:
    """Replace the numbers of other libraries, e.g. numpy's, by plain ones, so that equal cells have one id."""
    for name in value.__slots__:
        if type(given := getattr(value, name)) not in (float, int, str):
            object.__setattr__(value, name, plain(given))


def _check_names_and_counts(value: "Design | Deployment") -> None:
    for name in value.__slots__:
        if name in SETTINGS:
            _check_name(name, getattr(value, name))
        elif name in COUNTS and not (type(count := getattr(value, name)) is int and 1 <= count <= MOST):
            raise MnsweepError(f"{name} {count!r:.40} is not a whole number from 1 to {MOST:,}")


def _check_name(setting: str, value: object) -> None:
    if not is_choice(setting, value):
        raise MnsweepError(f"{setting} {value!r} is unknown", f"choose from {', '.join(choices(setting))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """One architecture: MobileNet at width multiplier `alpha` and input `resolution` in pixels.

    `width_rule` turns 32·alpha into a channel count: `paper` truncates (at least 8), `round8` rounds to a multiple of 8.
    `conv_padding` is the convention at stride 2 (TF-slim, Keras, PyTorch). `variant` may also name one of the paper's other
    forms of the network (`full-conv`, `shallow`), the form of MLPerf Tiny (`conv-bias`), or a comparison network, which has
    one form only. `classes` is the number of outputs. Source: Howard et al. 2017, sections 3.3, 3.4 and 4.

    `Design.of` fills in the defaults of the task and the variant. Raises `MnsweepError` on an invalid value.
    """

    alpha: float
    resolution: int
    variant: str
    task: str
    classes: int
    width_rule: str
    conv_padding: str
    activation: str

    @classmethod
    def of(
        cls,
        alpha: float | None = None,
        resolution: int | None = None,
        *,
        variant: str = "mobilenet",
        task: str = "classify",
        classes: int | None = None,
        width_rule: str = "paper",
        conv_padding: str = "same",
        activation: str | None = None,
    ) -> "Design":
        """The design with defaults filled in: classes of the task, activation and, for a comparison network, the one size.

        A MobileNet requires `alpha` and `resolution`; a comparison network ignores `activation` and uses its published one.

        >>> Design.of(variant="vgg16").resolution, Design.of(1, 160, task="dogs").classes
        (224, 120)
        """
        _check_name("variant", variant)
        _check_name("task", task)
        network = VARIANTS[variant]
        if network.compares:
            alpha = 1.0 if alpha is None else alpha
            resolution = network.native_resolution if resolution is None else resolution
            activation = network.activation
        alpha = plain(alpha)
        if alpha is None or resolution is None:
            missing = "alpha" if alpha is None else "resolution"
            raise MnsweepError(f"variant {variant} has no {missing} of its own", "give a width multiplier and a resolution")
        return cls(
            alpha=float(alpha) if type(alpha) is int and alpha <= ALPHA_RANGE[1] else alpha,  # so that 1 and 1.0 have one id
            resolution=resolution,
            variant=variant,
            task=task,
            classes=TASKS[task].classes if classes is None else classes,
            width_rule=width_rule,
            conv_padding=conv_padding,
            activation=network.activation if activation is None else activation,
        )

    def __post_init__(self) -> None:
        _make_plain(self)
        if not (type(self.alpha) is float and math.isfinite(self.alpha) and ALPHA_RANGE[0] < self.alpha <= ALPHA_RANGE[1]):
            raise MnsweepError(f"alpha {self.alpha!r} is outside (0, 2]: the width multiplier is above 0, at most 2")
        low, high = RESOLUTION_RANGE
        if not (type(self.resolution) is int and low <= self.resolution <= high):
            raise MnsweepError(f"resolution {self.resolution!r} is not a whole number of pixels from {low} to {high}")
        _check_names_and_counts(self)
        if VARIANTS[self.variant].compares:
            _check_comparison(self)

    @property
    def rho(self) -> float:
        """The paper's resolution multiplier: resolution / 224."""
        return self.resolution / 224


def _check_comparison(design: Design) -> None:
    """Raise `MnsweepError` where a comparison network differs from its published form or the task needs a MobileNet."""
    name, network = design.variant, VARIANTS[design.variant]
    if (design.alpha, design.resolution) != (1.0, network.native_resolution):
        what = f"variant {name} has one size, not {design.alpha!r} at {design.resolution} px"
        raise MnsweepError(what, f"write `alpha` 1.0 `res` {network.native_resolution}")
    only = {"width_rule": _DEFAULTS["width_rule"], "conv_padding": _DEFAULTS["conv_padding"], "activation": network.activation}
    for setting, value in only.items():
        if getattr(design, setting) != value:
            raise MnsweepError(f"variant {name} has no {setting.replace('_', ' ')} to choose", f"leave `{setting}` out")
    if not TASKS[design.task].compares:
        raise MnsweepError(f"task {design.task} needs a MobileNet, not {name}", "leave `variant` out")


@dataclass(frozen=True, slots=True)
class Deployment:
    """How a design runs: `threads` is the size of the runtime's thread pool, `batch` the number of images per call.

    `runtime` may name an execution provider of onnxruntime after a colon. `pad` is the requested channel padding: `none`,
    a multiple (e.g. `16`), or `auto`; each measurement records the resolved padding.
    """

    precision: str = "fp32"
    runtime: str = "onnxruntime"
    _: KW_ONLY
    threads: int = 1
    batch: int = 1
    pad: str = "auto"

    def __post_init__(self) -> None:
        _make_plain(self)
        _check_names_and_counts(self)
        low, high = PAD_RANGE
        if self.pad not in PADS and not (re.fullmatch("[1-9][0-9]{0,2}", str(self.pad)) and low <= int(self.pad) <= high):
            fix = f"choose from auto, none, or a multiple from {low} to {high}"
            raise MnsweepError(f"pad {self.pad!r:.40} is unknown", fix)


@dataclass(frozen=True, slots=True)
class Cell:
    """One design in one deployment."""

    design: Design
    deployment: Deployment = field(default_factory=Deployment)

    def __post_init__(self) -> None:
        task, deployment = self.design.task, self.deployment
        if not TASKS[task].detects:
            return
        if deployment.precision != _DEFAULTS["precision"]:
            raise MnsweepError(f"precision {deployment.precision}: task {task} runs in fp32 alone", "leave `precision` out")
        if deployment.batch != 1:
            raise MnsweepError(f"batch {deployment.batch}: task {task} takes one image at a time", "leave `batch` out")

    @property
    def id(self) -> str:
        """`a0.25_r128` and a suffix for each setting that is not the default; safe as a file name."""
        return f"a{self.design.alpha!r}_r{self.design.resolution}{_suffixes(*_others_of(self))}"

    def changed(self) -> dict[str, str | int]:
        """Every setting except α and resolution that differs from its default; defaults may depend on task and variant."""
        return dict(_changed(*_others_of(self)))

    def settings(self) -> dict[str, str | int | float]:
        """Every field of the design and the deployment, flat, in column order."""
        return dict(zip(_SETTINGS, _values_of(self), strict=True))


_ID = re.compile(r"a(?P<alpha>[0-9.e-]{1,30})_r(?P<resolution>[0-9]{1,9})(?P<rest>(_[^_]+)*)")
_LETTERS = {**COUNTS, "pad": "p"}
_SETTING_OF_LETTER = {letter: name for name, letter in COUNTS.items()}
# Computed once: a large grid needs hundreds of thousands of ids.
_DEPLOYMENT_SETTINGS = tuple(f.name for f in fields(Deployment))
_SETTINGS = tuple(f.name for part in (Design, Deployment) for f in fields(part))
_PATHS = [f"{part.__name__.lower()}.{f.name}" for part in (Design, Deployment) for f in fields(part)]
_values_of, _others_of = attrgetter(*_PATHS), attrgetter(*_PATHS[2:])  # all, and all but α and resolution
_DEFAULTS: dict[str, object] = {setting: choices(setting)[0] for setting in SETTINGS} | {
    "threads": 1,
    "batch": 1,
    "pad": "auto",
}


@lru_cache(maxsize=4096)  # thousands of cells differ in α and resolution alone
def _changed(*others: str | int) -> tuple[tuple[str, str | int], ...]:
    values = dict(zip(_SETTINGS[2:], others, strict=True))
    task, variant = TASKS[str(values["task"])], VARIANTS[str(values["variant"])]
    defaults = _DEFAULTS | {"classes": task.classes, "activation": variant.activation}
    return tuple((name, value) for name, value in values.items() if value != defaults[name])


@lru_cache(maxsize=4096)
def _suffixes(*others: str | int) -> str:
    return "".join(f"_{_LETTERS.get(name, '')}{value}".replace(":", "-") for name, value in _changed(*others))


def parse_cell(text: str) -> Cell:
    """The cell whose id is `text`; raises `MnsweepError` if `text` is not an id."""
    if not (match := _ID.fullmatch(text)):
        raise MnsweepError(f"cell {text!r} is not an id", "write something like a0.25_r128 or a0.5_r160_t2")
    settings = dict(_parse_suffix(suffix, text) for suffix in match["rest"].split("_")[1:])
    deployment = {name: settings.pop(name) for name in _DEPLOYMENT_SETTINGS if name in settings}
    try:
        alpha, resolution = float(match["alpha"]), int(match["resolution"])
    except ValueError:
        raise MnsweepError(f"cell {text!r}: {match['alpha']!r} is not a number") from None
    design = Design.of(alpha, resolution, **settings)  # type: ignore[arg-type]
    cell = Cell(design, Deployment(**deployment))  # type: ignore[arg-type]
    if cell.id != text:
        raise MnsweepError(f"cell {text!r} is not written as an id is", f"write {cell.id}")
    return cell


def _parse_suffix(suffix: str, text: str) -> tuple[str, str | int]:
    name = suffix.replace("-", ":", 1)
    for setting, known in SETTINGS.items():
        if suffix in known:
            return setting, suffix
    if is_choice("runtime", name):
        return "runtime", name
    if re.fullmatch("p(none|[0-9]{1,9})", suffix):
        return "pad", suffix[1:]
    if suffix[:1] in _SETTING_OF_LETTER and re.fullmatch("[0-9]{1,9}", suffix[1:]):
        return _SETTING_OF_LETTER[suffix[0]], int(suffix[1:])
    raise MnsweepError(f"cell {text!r}: {suffix!r} is not a setting that this version of mnsweep knows")
