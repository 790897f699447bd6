"""Variants: the MobileNet, the paper's other forms of it, and the networks that it is compared with, as data.

MobileNet family (Howard et al. 2017, Table 1; Tables 4 and 5 for the other forms): (stride, output channels) of each block.

Comparison networks are text in a small notation. Spaces separate layers, and each layer reads the layer before it:

- `3x3x64` is a convolution (height × width × output channels) with ReLU. `max3` and `avg3` pool 3 × 3 windows, `lrn5`
  normalizes across 5 channels, `mean` is a global average pool, `fc4096` a fully connected layer. A layer without channels
  (`1x1x`, `fc`) has one output channel per class.
- Suffixes: `/2` is the stride, `v` means no padding (otherwise half the kernel on every side), `g2` means two groups.
- `[a | b c | d]` are branches that read the same feature map and whose outputs are concatenated.
- `name=` names a layer or a concatenation. A concatenation outside of a branch needs a name.
- A max pool with a stride is padded only so that its last window may end beyond the feature map (Caffe's ceil mode).
- Dropout and auxiliary classifiers are for training only, and are left out.

The comparison networks:

- `alexnet`: Krizhevsky et al. 2012, as Caffe's bvlc_alexnet: two groups in the 2nd, 4th and 5th convolution as on the
  paper's two GPUs, normalization before pooling. It takes 227 px: the 224 px in the paper do not give its 55 × 55
  feature map.
- `squeezenet`: SqueezeNet 1.0, Iandola et al. 2016 (arXiv 1602.07360), Table 1, as its authors' Caffe model: 227 px.
- `vgg16`: Simonyan and Zisserman 2014 (arXiv 1409.1556), Table 1, configuration D.
- `googlenet`: Szegedy et al. 2014 (arXiv 1409.4842), Table 1, as Caffe's bvlc_googlenet: biases and local response
  normalization as in the paper, not the batch norm of torchvision's version.
- `inception-v3`: Szegedy et al. 2015 (arXiv 1512.00567), as torchvision's inception_v3, whose counts equal those of Keras
  except for batch norm's scale. Average pools count padding as zeros, as in torchvision.
"""

from dataclasses import dataclass

# The paper prints stride 2 for the last depthwise layer, but only stride 1 gives the 7 × 7 feature map and the 569 M
# mult-adds that it reports.
BLOCKS = (
    (1, 64),
    (2, 128),
    (1, 128),
    (2, 256),
    (1, 256),
    (2, 512),
    *[(1, 512)] * 5,
    (2, 1024),
    (1, 1024),
)
SHALLOW_BLOCKS = (*BLOCKS[:6], *BLOCKS[11:])  # without the five blocks on 14 × 14 × 512: section 4.1, Table 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One network; `label` is its name for display.

    In the MobileNet family, `blocks` are (stride, output channels), of depthwise separable (`separable`) or full
    convolutions. Every convolution has batch norm (`batch_norm`) and may also have a `bias`. Where `predicted`, the terms of
    the latency model apply.

    A comparison network has a `notation` and one form: one resolution (`native_resolution`, in pixels) and one `activation`.
    Every convolution has either batch norm or a bias.
    """

    name: str
    label: str
    blocks: tuple[tuple[int, int], ...] = ()
    separable: bool = True
    bias: bool = False
    predicted: bool = False
    notation: str = ""
    native_resolution: int = 0
    batch_norm: bool = True
    activation: str = "relu6"

    @property
    def compares(self) -> bool:
        """Whether it is a comparison network: one size, one form."""
        return bool(self.notation)


def _inception(name: str, one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> str:
    """GoogLeNet's module, with the columns of its Table 1."""
    branches = (f"1x1x{one}", f"1x1x{reduce3} 3x3x{three}", f"1x1x{reduce5} 5x5x{five}", f"max3 1x1x{pool}")
    return f"inception{name}=[{' | '.join(branches)}]"


def _fire(number: int, squeeze: int, expand: int) -> str:
    return f"fire{number}_squeeze=1x1x{squeeze} fire{number}=[1x1x{expand} | 3x3x{expand}]"


def _mixed_a(pool: int) -> str:
    return f"[1x1x64 | 1x1x48 5x5x64 | 1x1x64 3x3x96 3x3x96 | avg3 1x1x{pool}]"


def _mixed_c(c: int) -> str:
    long = f"1x1x{c} 7x1x{c} 1x7x{c} 7x1x{c} 1x7x192"
    return f"[1x1x192 | 1x1x{c} 1x7x{c} 7x1x192 | {long} | avg3 1x1x192]"


_MIXED_E = "[1x1x320 | 1x1x384 [1x3x384 | 3x1x384] | 1x1x448 3x3x384 [1x3x384 | 3x1x384] | avg3 1x1x192]"

_ALEXNET = "11x11x96/4v lrn5 max3/2 5x5x256g2 lrn5 max3/2 3x3x384 3x3x384g2 3x3x256g2 max3/2 fc4096 fc4096 fc"
_SQUEEZENET = f"""7x7x96/2v max3/2 {_fire(2, 16, 64)} {_fire(3, 16, 64)} {_fire(4, 32, 128)} max3/2 {_fire(5, 32, 128)}
    {_fire(6, 48, 192)} {_fire(7, 48, 192)} {_fire(8, 64, 256)} max3/2 {_fire(9, 64, 256)} conv10=1x1x mean"""
_VGG16 = """3x3x64 3x3x64 max2/2 3x3x128 3x3x128 max2/2 3x3x256 3x3x256 3x3x256 max2/2
    3x3x512 3x3x512 3x3x512 max2/2 3x3x512 3x3x512 3x3x512 max2/2 fc4096 fc4096 fc"""
_GOOGLENET = f"""7x7x64/2 max3/2 lrn5 1x1x64 3x3x192 lrn5 max3/2
    {_inception("3a", 64, 96, 128, 16, 32, 32)} {_inception("3b", 128, 128, 192, 32, 96, 64)} max3/2
    {_inception("4a", 192, 96, 208, 16, 48, 64)} {_inception("4b", 160, 112, 224, 24, 64, 64)}
    {_inception("4c", 128, 128, 256, 24, 64, 64)} {_inception("4d", 112, 144, 288, 32, 64, 64)}
    {_inception("4e", 256, 160, 320, 32, 128, 128)} max3/2
    {_inception("5a", 256, 160, 320, 32, 128, 128)} {_inception("5b", 384, 192, 384, 48, 128, 128)} mean fc"""
_INCEPTION_V3 = f"""3x3x32/2v 3x3x32v 3x3x64 max3/2 1x1x80 3x3x192v max3/2
    mixed1={_mixed_a(32)} mixed2={_mixed_a(64)} mixed3={_mixed_a(64)} mixed4=[3x3x384/2v | 1x1x64 3x3x96 3x3x96/2v | max3/2]
    mixed5={_mixed_c(128)} mixed6={_mixed_c(160)} mixed7={_mixed_c(160)} mixed8={_mixed_c(192)}
    mixed9=[1x1x192 3x3x320/2v | 1x1x192 1x7x192 7x1x192 3x3x192/2v | max3/2] mixed10={_MIXED_E} mixed11={_MIXED_E} mean fc"""


def _comparison(name: str, label: str, notation: str, native_resolution: int, batch_norm: bool = False) -> Variant:
    return Variant(
        name=name,
        label=label,
        notation=notation,
        native_resolution=native_resolution,
        batch_norm=batch_norm,
        bias=not batch_norm,
        activation="relu",  # in all comparison networks
    )


_ROWS = (
    Variant(name="mobilenet", label="MobileNet", blocks=BLOCKS, predicted=True),
    Variant(name="full-conv", label="MobileNet of full convolutions", blocks=BLOCKS, separable=False),
    Variant(name="shallow", label="shallow MobileNet", blocks=SHALLOW_BLOCKS),
    Variant(name="conv-bias", label="MobileNet with biases", blocks=BLOCKS, bias=True, predicted=True),  # MLPerf Tiny's
    _comparison("alexnet", "AlexNet", _ALEXNET, native_resolution=227),
    _comparison("squeezenet", "SqueezeNet", _SQUEEZENET, native_resolution=227),
    _comparison("vgg16", "VGG-16", _VGG16, native_resolution=224),
    _comparison("googlenet", "GoogLeNet", _GOOGLENET, native_resolution=224),
    _comparison("inception-v3", "Inception V3", _INCEPTION_V3, native_resolution=299, batch_norm=True),
)
VARIANTS: dict[str, Variant] = {row.name: row for row in _ROWS}  # the default first
