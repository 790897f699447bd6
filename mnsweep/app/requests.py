"""One request for each command. Its settings are declared here or in the module that they belong to."""

from dataclasses import dataclass
from pathlib import Path

from mnsweep.cell import RESOLUTION_RANGE
from mnsweep.choice.constraints import Constraints
from mnsweep.options import AXES, CONSTRAINTS, ELSEWHERE, MEASURING, NETWORK, OUTPUT, argument, group, option
from mnsweep.space import FINE_ALPHAS, FINE_RESOLUTIONS, Space

INTERLEAVED = "Two ways, interleaved"
SHORTEST_MS, LONGEST_MS = 1e-6, 1e9  # a nanosecond, the resolution of the clock, and 11 days
LONGEST_WAIT_S = 1e6  # every system can wait for this long
SAME_PCT = 1.0  # what a user would call no difference
MOST_MEASURED = 10_000  # of any kind of cell: hours
OF_NETWORKS = (  # settings of a space that a file has decided
    *("alpha", "res", "variant", "task", "classes", "width_rule", "conv_padding", "activation"),
    *("runtime", "batch", "pad", "max_designs"),
)
TRAINERS = option(None, "Address of a Dask scheduler: every worker with TRAIN=1.", panel=ELSEWHERE)
OF_EXPLORED_DESIGNS = ("variant", "task", "classes", "conv_padding", "activation")  # only defaults are predicted


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where results are stored."""

    results_dir: Path | None = option(
        None, "Folder of all results. Default: ./results.", panel=OUTPUT, environment="MNSWEEP_RESULTS"
    )


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """How a picture becomes a network's input, where its file does not say it, or says it wrongly."""

    mean: float | None = option(None, "Input = (pixel − mean) / std, with pixels from 0 to 255.", panel=NETWORK)
    std: float | None = option(None, "See --mean: 127.5 and 127.5 for −1 to 1, 0 and 255 for 0 to 1.", panel=NETWORK)
    crop: str | None = option(None, "squash, slim, centre or timm.", panel=NETWORK)
    interpolation: str | None = option(None, "bilinear, bicubic or nearest.", panel=NETWORK)
    label_offset: int | None = option(
        None, "Outputs before the first of the labels: 1 where output 0 is a background.", panel=NETWORK, low=0, high=1000
    )


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Trained networks to use in place of random weights."""

    weights: Path | None = option(None, "Weights that 'mnsweep import' wrote, or a folder of them.", panel=NETWORK)


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """The source of the accuracies that are shown beside latencies."""

    quality_source: str | None = option(
        None, "slim-2018-08, paper, or trained:NAME of your own run. Default: slim-2018-08.", panel=NETWORK
    )


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What to do while another process measures on this machine."""

    wait: bool = option(False, "Wait for another mnsweep that is measuring here.", panel=MEASURING)


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How much to measure, and when to stop."""

    fresh: bool = option(False, "Set earlier results of this sweep aside and start over.")
    ci_pct: float | None = option(
        None,
        "Half width of the interval at which a cell has settled, in %. Default: 1, or 5 once nothing hangs on it.",
        panel=MEASURING,
        low=0.01,
        high=1000.0,
    )
    time_budget_s: float | None = option(
        None, "Stop measuring after this many seconds.", panel=MEASURING, low=0.0, high=1e8, endless=True
    )
    max_latency_ms: float | None = option(
        None,
        "Your latency budget: cells near it get the narrowest intervals.",
        panel=MEASURING,
        low=SHORTEST_MS,
        high=LONGEST_MS,
    )
    cell_timeout_s: float = option(
        60.0, "Give up on a cell that does not answer for this long.", panel=MEASURING, low=0.1, high=LONGEST_WAIT_S
    )


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """Machines to run on, in place of this one."""

    on: str | None = option(
        None, "Run there: hosts of OpenSSH, names of fleet.toml, command prefixes; with commas.", panel=ELSEWHERE
    )
    fleet: str | None = option(
        None, "Address of a Dask scheduler: every machine with MEASURE=1.", panel=ELSEWHERE, excludes="on"
    )
    insecure: bool = option(False, "Talk to a scheduler on the network without TLS.", panel=ELSEWHERE, requires="fleet")

    @property
    def is_asked(self) -> bool:
        """Whether other machines are asked for."""
        return self.on is not None or self.fleet is not None


@dataclass(frozen=True, kw_only=True)
class CountRequest:
    """A grid to count."""

    space: Space = group(
        Space,
        without=("runtime", "threads", "batch"),
        pad=option("auto", "Channels as deployed: none or a multiple; auto is known once measured.", panel=AXES),
    )
    accuracies: Accuracies = group(Accuracies)


@dataclass(frozen=True, kw_only=True)
class GridRequest:
    """A grid or a sweep file to measure on this machine; `all_cells` adds all other cells of the sweep."""

    space: Space = group(Space)
    sweep: str | None = option(None, "Sweep file, or the name of one, instead of axes.")
    name: str | None = option(None, "Name of the sweep; cells add up under one name. Default: grid.")
    all_cells: bool = option(False, "All cells of the sweep, not only those asked for now.", flag="--all", excludes="fresh")
    measuring: Measuring = group(
        Measuring,
        time_budget_s=option(
            None,
            "Stop measuring after this many seconds, or inf. Default: 120 for up to 32 cells.",
            panel=MEASURING,
            low=0.0,
            high=1e8,
            endless=True,
        ),
    )
    turn: Turn = group(Turn)
    quick: bool = option(False, "A fixed small number of rounds: about 100 runs a cell.", panel=MEASURING, excludes="ci_pct")
    sustain_s: float = option(
        0.0, "Load the cores for this long first, on machines that throttle.", panel=MEASURING, low=0.0, high=1e5
    )
    accuracies: Accuracies = group(Accuracies)
    trained: Trained = group(Trained)
    elsewhere: Elsewhere = group(Elsewhere)
    place: Place = group(Place)


@dataclass(frozen=True, kw_only=True)
class ExploreRequest:
    """A fine grid: a few designs are measured, all others predicted."""

    space: Space = group(
        Space,
        without=OF_EXPLORED_DESIGNS,
        alpha=option(FINE_ALPHAS, "Width multipliers: 0.25,0.5 or a range.", panel=AXES),
        res=option(FINE_RESOLUTIONS, "Input resolutions in pixels: 128,160 or a range.", panel=AXES),
    )
    measure: int = option(
        12,
        "Designs to measure and learn from, in each deployment; at least 8, or 5 with --like.",
        panel=MEASURING,
        low=0,
        high=MOST_MEASURED,
    )
    like: str | None = option(None, "Start from the models of a sweep of another machine: its name or folder.", panel=MEASURING)
    verify: int = option(
        10, "Cells of the predicted frontier to measure afterwards.", panel=MEASURING, low=0, high=MOST_MEASURED
    )
    validate: int = option(
        0, "Random fresh designs to measure, to tell how good the model is.", panel=MEASURING, low=0, high=MOST_MEASURED
    )
    name: str = option("explore", "Name of the sweep; cells add up under one name.")
    extrapolate: bool = option(
        False, "Predict accuracies beyond the range of their source, with wider intervals.", panel=NETWORK
    )
    measuring: Measuring = group(Measuring)
    turn: Turn = group(Turn)
    accuracies: Accuracies = group(Accuracies)
    trained: Trained = group(Trained)
    elsewhere: Elsewhere = group(Elsewhere, without=("fleet", "insecure"))
    place: Place = group(Place)


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """Cells to predict with the saved models of an exploration."""

    space: Space = group(Space, without=OF_EXPLORED_DESIGNS)
    sweep: str | None = option(None, "Name or folder of the exploration. Default: newest sweep of this machine.")
    extrapolate: bool = option(
        False, "Predict accuracies beyond the range of their source, with wider intervals.", panel=NETWORK
    )
    place: Place = group(Place)


@dataclass(frozen=True, kw_only=True)
class PickRequest:
    """A choice among the cells of a sweep; predicted cells are measured first, unless `no_verify`."""

    constraints: Constraints = group(Constraints)
    no_verify: bool = option(False, "Answer from predictions; by default the choice is measured first.", excludes="wait")
    sweep: str | None = option(None, "Name or folder of the sweep. Default: newest of this machine.")
    accuracies: Accuracies = group(
        Accuracies,
        quality_source=option(
            None, "Accuracies to pick by: slim-2018-08, paper, trained:NAME. Default: the sweep's.", panel=CONSTRAINTS
        ),
    )
    all_machines: bool = option(
        False, "One cell for every machine that has this sweep: fast enough on each.", panel=CONSTRAINTS, excludes="export"
    )
    deliverable: bool = option(False, "Only cells that were measured with trained weights.", panel=CONSTRAINTS)
    export: Path | None = option(None, "Also write the choice as an ONNX file.")
    calibration: Path | None = option(
        None, "Folder of pictures to calibrate int8 with. Default: synthetic images.", requires="export"
    )
    weights: Path | None = option(
        None, "Weights to export with, or a folder of them. Default: those that were measured.", requires="export"
    )
    turn: Turn = group(Turn)
    elsewhere: Elsewhere = group(Elsewhere, without=("fleet", "insecure"))
    place: Place = group(Place)


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """One network to write as an ONNX file."""

    space: Space = group(
        Space,
        without=("threads", "batch", "max_designs"),
        alpha=option(None, "Width multiplier.", panel=AXES),
        res=option(None, "Input resolution in pixels.", panel=AXES),
        precision=option("fp32", "fp32, or int8: quantize/dequantize pairs.", panel=AXES),
        runtime=option("onnxruntime", "The runtime that auto padding is tuned for.", panel=AXES),
        pad=option("none", "Channels: none, a multiple (e.g. 16), or auto: what pays on this CPU.", panel=AXES),
    )
    out: Path = option(..., "File to write: NAME.onnx, or NAME.tflite for TensorFlow Lite.")
    format: str | None = option(None, "onnx or tflite. Default: by the file's ending.")
    batch: str = option("1", "Images per call, or 'symbolic' for any number.")
    calibration: Path | None = option(None, "Folder of pictures to calibrate int8 with. Default: synthetic images.")
    trained: Trained = group(Trained)
    seed: int = option(0, "Seed of the random weights.", low=0, high=2**63 - 1, excludes="weights")


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """One file with a trained network."""

    file: Path = argument("Trained network: .tflite, .h5, .keras, .onnx, .safetensors, .pth or a TF-slim .index.")
    out: Path | None = option(None, "File to write: NAME.safetensors. Default: only say what is in it.")
    res: int | None = option(
        None,
        "Resolution in pixels, where the file does not say it.",
        panel=NETWORK,
        low=RESOLUTION_RANGE[0],
        high=RESOLUTION_RANGE[1],
    )
    conv_padding: str | None = option(None, "same, keras or symmetric, where the file does not say it.", panel=NETWORK)
    epsilon: float | None = option(None, "Of batch norm, where the file does not say it.", panel=NETWORK, low=1e-9, high=1.0)
    pixels: Pixels = group(Pixels)


@dataclass(frozen=True, kw_only=True)
class ClassifyRequest:
    """Pictures to classify with one file."""

    model: Path = argument("ONNX or TensorFlow Lite file, or weights.")
    pictures: list[Path] = argument("Pictures, or folders of them.")
    labels: Path | None = option(None, "File with a label a line, for the outputs in order.")
    top: int = option(5, "So many answers for each picture.", low=1, high=1000)
    draw: Path | None = option(None, "Folder for copies of the pictures with the boxes of a detector drawn in.")
    precision: str | None = option(None, "Of weights: fp32 or int8. Default: their own.")
    runtime: str | None = option(None, "Runtime to run it on. Default: onnxruntime, litert for .tflite.")
    pixels: Pixels = group(Pixels)


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """One file to score on labelled pictures, maybe against another."""

    model: Path | None = argument("ONNX or TensorFlow Lite file, or weights; none with --sweep.", default=None)
    data: Path = option(..., "Folder of class folders, flat folder with --labels, or CSV file (picture,label).")
    labels: Path | None = option(None, "Labels of a flat folder: lines 'PICTURE LABEL', or one label for each picture.")
    against: Path | None = option(None, "Another file to compare on the same pictures.")
    precision: str | None = option(None, "Of weights: fp32 or int8. Default: their own.")
    runtime: str | None = option(None, "Runtime to run it on. Default: onnxruntime, litert for .tflite.")
    by_class: bool = option(False, "Also print each class, and the most frequent confusions.")
    plot: Path | None = option(
        None, "PNG or SVG to write: a map (planet), a ROC (embedding), or the AP of each class.", excludes="sweep"
    )
    sweep: str | None = option(None, "Score the cells of a sweep that have trained weights; its accuracies become these.")
    calibration: Path | None = option(
        None, "With --sweep: pictures to quantize float weights with. Default: synthetic images.", requires="sweep"
    )
    pixels: Pixels = group(Pixels)
    turn: Turn = group(Turn)
    elsewhere: Elsewhere = group(Elsewhere, without=("on",), fleet=TRAINERS)
    place: Place = group(Place)


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """Networks to train on labelled pictures."""

    space: Space = group(
        Space,
        without=("runtime", "threads", "batch", "pad", "max_designs"),
        classes=option(None, "Classes; the pictures tell.", panel=NETWORK),
        precision=option("fp32", "fp32, or int8 too: its files are scored beside the float ones.", panel=AXES),
    )
    data: Path = option(..., "Labelled pictures: a folder with train/ and val/, or another form that the task reads.")
    noisy: Path | None = option(None, "Pictures with unreliable labels to train on first; then fine-tune on the others.")
    name: str = option(..., "Name of the run: its accuracies become the quality source trained:NAME.")
    sweep: str | None = option(None, "Sweep file, or the name of one: all its designs.")
    recipe: str | None = option(
        None, "modern, paper, finetune, steady, embed, detect, propose, or a TOML file. Default: modern, or the task's own."
    )
    set: str | None = option(None, "Settings in place of the recipe's: lr=0.01,epochs=5.")
    weights: Path | None = option(None, "Trained weights to start from, with a new classifier for other classes.")
    teacher: Path | None = option(None, "Network of the same outputs to learn from: weights, ONNX, or TorchScript.")
    share_resolutions: bool = option(False, "Train each α at its largest resolution; fine-tune the others from it.")
    max_loss_points: float = option(
        1.0, "Fine-tune with quantization where int8 loses more than this.", panel=NETWORK, low=0.0, high=100.0
    )
    seed: int = option(0, "Seed of everything random.", low=0, high=2**31 - 1)
    fresh: bool = option(False, "Remove earlier networks of this run and start over.")
    beside: bool = option(False, "Train beside other trainings with this option; sweeps wait for all of them.", panel=MEASURING)
    turn: Turn = group(Turn)
    elsewhere: Elsewhere = group(Elsewhere, without=("on",), fleet=TRAINERS)
    place: Place = group(Place)


@dataclass(frozen=True, kw_only=True)
class ProfileRequest:
    """One cell to profile."""

    space: Space = group(
        Space,
        without=("max_designs",),
        alpha=option(None, "Width multiplier.", panel=AXES),
        res=option(None, "Input resolution in pixels.", panel=AXES),
    )
    turn: Turn = group(Turn)
    place: Place = group(Place)


@dataclass(frozen=True, kw_only=True)
class PaperRequest:
    """Tables of the paper to check, and whether to time their networks here."""

    table: int | None = option(None, "One table by its number. Default: all.")
    measure: bool = option(False, "Also time every network here: at most 5 minutes.")
    fresh: bool = option(False, "With --measure: set earlier results aside and start over.")
    turn: Turn = group(Turn)
    place: Place = group(Place)


@dataclass(frozen=True, kw_only=True)
class DataRequest:
    """A data set to generate."""

    name: str = argument("Data set: glyphs, scenes, faces or places.")
    folder: Path = argument("New folder for it.")
    images: int = option(8_000, "Pictures to train on.", low=16, high=10_000_000)
    validation: int = option(2_000, "Pictures to validate on.", low=16, high=10_000_000)
    size: int = option(128, "Side of a picture in pixels.", low=RESOLUTION_RANGE[0], high=RESOLUTION_RANGE[1])
    wrong_labels: float = option(0.0, "Share of the glyphs to train on with a wrong label.", low=0.0, high=1.0)
    seed: int = option(0, "Seed of everything that varies.", low=0, high=2**31 - 1)


@dataclass(frozen=True, kw_only=True)
class CompareRequest:
    """Sweeps to compare with the first of them; or with `interleave` two ways to run cells, measured against each other now."""

    sweeps: list[str] = argument("Two or more sweeps: names, folders, or phones such as pixel3-cpu.", default=())
    same_pct: float = option(SAME_PCT, "Differences up to this many % count as none.", low=0.0, high=100.0)
    fail_if_slower: float | None = option(
        None, "Exit status 1 where a cell is slower beyond doubt, and by more than this many %.", low=0.0, high=1e6
    )
    all_machines: bool = option(False, "Every machine that has the first sweep, against this one or the first of them.")
    budgets_ms: str | None = option(None, "Latency budgets to pick for: 2,5,10. Default: round numbers.")
    interleave: bool = option(False, "Measure two ways here and now, in the same rounds.", panel=INTERLEAVED)
    python_b: Path | None = option(None, "Interpreter of another environment, for B.", panel=INTERLEAVED, requires="interleave")
    precision_b: str | None = option(None, "Precision of B. Default: A's.", panel=INTERLEAVED, requires="interleave")
    runtime_b: str | None = option(None, "Runtime of B. Default: A's.", panel=INTERLEAVED, requires="interleave")
    threads_b: str | None = option(None, "Threads of B. Default: A's.", panel=INTERLEAVED, requires="interleave")
    pad_b: str | None = option(None, "Channel padding of B. Default: A's.", panel=INTERLEAVED, requires="interleave")
    name: str = option("interleaved", "Name of the sweep that is measured.", panel=INTERLEAVED)
    space: Space = group(Space, without=("batch", "max_designs"))
    measuring: Measuring = group(
        Measuring,
        without=("max_latency_ms",),
        ci_pct=option(
            None, "Half width to which each time is known, in %. Default: 0.35.", panel=MEASURING, low=0.01, high=1e3
        ),
        time_budget_s=option(
            None, "Stop after this many seconds. Default: 30.", panel=MEASURING, low=0.0, high=1e8, endless=True
        ),
    )
    turn: Turn = group(Turn)
    place: Place = group(Place)


@dataclass(frozen=True, kw_only=True)
class TimeRequest:
    """Model files of anyone's to time, and to compare with the first."""

    files: list[Path] = argument("Model files: .onnx, .ort, .tflite, or OpenVINO's .xml.")
    space: Space = group(Space, without=OF_NETWORKS)
    runtime: str | None = option(None, "onnxruntime, openvino, litert. Default: by the file's ending.", panel=AXES)
    shape: str | None = option(None, "Of inputs with open sizes: image=1x3x224x224, or 1x3x224x224.")
    input: Path | None = option(None, ".npz file with arrays by input. Default: made-up numbers.")
    name: str = option("time", "Name of the sweep; files add up under one name.")
    same_pct: float = option(SAME_PCT, "Differences up to this many % count as none.", low=0.0, high=100.0)
    measuring: Measuring = group(
        Measuring,
        without=("max_latency_ms",),
        ci_pct=option(
            None, "Half width to which a file's time is known, in %. Default: 0.7.", panel=MEASURING, low=0.01, high=1e3
        ),
    )
    turn: Turn = group(Turn)
    elsewhere: Elsewhere = group(Elsewhere, without=("fleet", "insecure"))
    place: Place = group(Place)


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """Sweeps to show on one page."""

    sweeps: list[str] = argument("Sweeps: names or folders. Default: newest of this machine.", default=())
    sweep: str | None = option(None, "The same as an option: one sweep.")
    all_machines: bool = option(False, "Every machine that has each sweep.")
    out: Path | None = option(None, "File to write. Default: report.html in the folder of the first sweep.")
    same_pct: float = option(SAME_PCT, "Differences up to this many % count as none.", low=0.0, high=100.0)
    paper: bool = option(False, "Add the paper's tables beside computed numbers.")
    place: Place = group(Place)
