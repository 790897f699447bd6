"""Families of trained networks: what their files leave unsaid, as data.

Sources: TF-slim's `preprocessing/inception_preprocessing.py`, `keras.applications.mobilenet`, timm's configuration of
`mobilenetv1_100`, Hugging Face's `MobileNetV1Config` and `MobileNetV1ImageProcessor`.
"""

from dataclasses import dataclass, field

from mnsweep.pictures.preprocessing import Preprocessing

BACKGROUND = 1001  # outputs of an ImageNet network whose class 0 is the background


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of source. `quality_source` names the published accuracies of its ImageNet networks; empty for none."""

    name: str
    label: str
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    conv_padding: str | None = None  # None: the file says it
    epsilon: float | None = None
    quality_source: str = ""


_ROWS = (
    Family(
        name="tf-slim",
        label="TensorFlow's TF-slim checkpoints of 2018",
        conv_padding="same",
        epsilon=1e-3,
        preprocessing=Preprocessing(crop="slim"),
        quality_source="slim-2018-08",
    ),
    Family(name="slim-tflite", label="TF-slim's networks as TensorFlow Lite files", quality_source="slim-2018-08"),
    Family(name="tflite", label="a TensorFlow Lite file"),
    Family(
        name="keras",
        label="keras.applications.MobileNet",
        conv_padding="keras",
        epsilon=1e-3,
        preprocessing=Preprocessing(crop="centre"),
    ),
    Family(
        name="timm",
        label="timm's mobilenetv1",
        conv_padding="symmetric",
        epsilon=1e-5,
        preprocessing=Preprocessing(crop="timm", interpolation="bicubic"),
    ),
    Family(name="huggingface", label="Hugging Face's google/mobilenet_v1", conv_padding="same", epsilon=1e-3),
    Family(name="torch", label="a state dict"),
    Family(name="onnx", label="an ONNX file"),
)
FAMILIES: dict[str, Family] = {row.name: row for row in _ROWS}


def label_offset(classes: int) -> int | None:
    """How many outputs come before the first of ImageNet's 1,000 classes; None for another number of outputs."""
    return {BACKGROUND: 1, BACKGROUND - 1: 0}.get(classes)
