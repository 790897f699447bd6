"""Options that commands share."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Optional

import typer

AXES, MEASURING, SETTINGS, OUTPUT = "Axes", "Measuring", "Network and deployment", "Output"

Alpha = Annotated[
    Optional[str],
    typer.Option(help="Width multipliers: 0.25,0.5 or a range 0.25:1.0:0.05. Default: paper's four.", rich_help_panel=AXES),
]
Res = Annotated[
    Optional[str],
    typer.Option(help="Input resolutions in pixels: 128,160 or 128:224:32. Default: paper's four.", rich_help_panel=AXES),
]
Threads = Annotated[
    Optional[str],
    typer.Option(help="Threads of the runtime's pool: 1,2 or auto (all CPUs). Default: 1.", rich_help_panel=AXES),
]
Precision = Annotated[Optional[str], typer.Option(help="fp32, bf16, int8: any of them. Default: fp32.", rich_help_panel=AXES)]
Runtime = Annotated[
    Optional[str],
    typer.Option(
        help="onnxruntime, openvino, or onnxruntime:CUDAExecutionProvider. Default: onnxruntime.", rich_help_panel=AXES
    ),
]
Pad = Annotated[
    Optional[str],
    typer.Option(help="Zero-pad channels, same logits: auto (what pays here), none, 16. Default: auto.", rich_help_panel=AXES),
]
CountPad = Annotated[
    Optional[str],
    typer.Option(
        help="Channels as deployed: none or a multiple; auto is known once measured. Default: auto.", rich_help_panel=AXES
    ),
]
Calibration = Annotated[
    Optional[Path], typer.Option(help="Folder of pictures to find int8 scales on. Default: synthetic images.")
]
Batch = Annotated[Optional[str], typer.Option(help="Images per call. Default: 1.", rich_help_panel=AXES)]
MaxDesigns = Annotated[int, typer.Option(help="Refuse a grid of more designs than this.", rich_help_panel=AXES)]
Quick = Annotated[
    bool, typer.Option("--quick", help="A fixed small number of rounds: about 100 runs a cell.", rich_help_panel=MEASURING)
]
CiPct = Annotated[
    float,
    typer.Option(min=0.01, help="Half width of the interval at which a cell has settled, in %.", rich_help_panel=MEASURING),
]
TimeBudget = Annotated[
    Optional[float], typer.Option(min=0.0, help="Stop measuring after this many seconds.", rich_help_panel=MEASURING)
]
NearBudget = Annotated[
    Optional[float],
    typer.Option(min=0.0, help="Your latency budget: cells near it are measured most narrowly.", rich_help_panel=MEASURING),
]
CellTimeout = Annotated[
    float, typer.Option(min=0.1, help="Give up a cell that does not answer for this long.", rich_help_panel=MEASURING)
]
Sustain = Annotated[
    float,
    typer.Option(min=0.0, help="Load the cores for so long first, on machines that throttle.", rich_help_panel=MEASURING),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for another mnsweep that is measuring here.", rich_help_panel=MEASURING)
]
Variant = Annotated[
    Optional[str],
    typer.Option(
        help="mobilenet, full-conv, shallow, conv-bias; alexnet, squeezenet, vgg16, googlenet, inception-v3.",
        rich_help_panel=SETTINGS,
    ),
]
Task = Annotated[
    Optional[str],
    typer.Option(help="classify, dogs, planet, attributes, embedding, ssd, faster-rcnn.", rich_help_panel=SETTINGS),
]
Classes = Annotated[
    Optional[int], typer.Option(help="Outputs: classes, cells, attributes. Default: the task's.", rich_help_panel=SETTINGS)
]
WidthRule = Annotated[
    Optional[str], typer.Option(help="Channels from α: paper (truncate) or round8. Default: paper.", rich_help_panel=SETTINGS)
]
ConvPadding = Annotated[
    Optional[str],
    typer.Option(
        help="Padding at stride 2: same (TensorFlow), keras, symmetric (PyTorch). Default: same.", rich_help_panel=SETTINGS
    ),
]
Activation = Annotated[Optional[str], typer.Option(help="relu6 or relu. Default: relu6.", rich_help_panel=SETTINGS)]
QualitySource = Annotated[
    Optional[str],
    typer.Option(help="Published accuracies: slim-2018-08 or paper. Default: slim-2018-08.", rich_help_panel=SETTINGS),
]
ResultsDir = Annotated[
    Optional[Path],
    typer.Option(envvar="MNSWEEP_RESULTS", help="Folder of all results. Default: ./results.", rich_help_panel=OUTPUT),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no advice.", rich_help_panel=OUTPUT)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what happens.", rich_help_panel=OUTPUT)]


def given(**options: object) -> dict[str, object]:
    """The options that the user gave a value."""
    return {name: value for name, value in options.items() if value is not None}


def as_flags(options: Mapping[str, object]) -> str:
    """The options as a user would type them."""
    return " ".join(f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in options.items())
