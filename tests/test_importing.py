"""Files of every format, from their own frameworks: what is imported answers as they do."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from mnsweep.arch.expand import expand
from mnsweep.cell import Design
from mnsweep.errors import MnsweepError
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.torch_net import to_torch
from mnsweep.graph.weights import Weights, random_weights
from mnsweep.importing.read import Asked, import_file
from mnsweep.importing.trained import Provenance, Trained, read_trained, to_bytes
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.worker.classify import runner, softmax
from tests.checkpoints import slim_arrays, write_checkpoint

os.environ.setdefault("KERAS_BACKEND", "torch")
DESIGN = Design.of(0.25, 64, classes=12)
IMAGES = 3
Images = NDArray[np.float32]


def images(resolution: int) -> Images:
    return np.random.default_rng(1).uniform(-1, 1, (IMAGES, 3, resolution, resolution)).astype(np.float32)


def logits(trained: Trained, of: Images) -> NDArray[np.float32]:
    run = runner(build_onnx(trained.layers(), trained.weights), "onnxruntime", "fp32", 1)
    return np.concatenate([run(image[None]) for image in of])


def torch_logits(design: Design, weights: Weights) -> NDArray[np.float32]:
    with torch.no_grad():
        return np.asarray(to_torch(expand(design), weights)(torch.from_numpy(images(design.resolution))).numpy())


def trained_of(design: Design, weights: Weights) -> Trained:
    return Trained(design=design, weights=weights, preprocessing=Preprocessing(), provenance=Provenance("f", "0" * 64, "torch"))


def shuffle_norms(net: torch.nn.Module) -> None:
    """Random statistics, so that a batch norm that is mixed up shows."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)


@pytest.mark.parametrize("alpha, resolution", [(0.25, 128), (0.35, 100), (1.0, 96), (0.5, 127)])
def test_keras_applications_give_the_same_probabilities(tmp_path: Path, alpha: float, resolution: int) -> None:
    keras = pytest.importorskip("keras")
    rng = np.random.default_rng(0)
    model = keras.applications.MobileNet((resolution, resolution, 3), alpha=alpha, weights=None, classes=12)
    for layer in model.layers:
        if len(layer.get_weights()) == 4:
            shape = layer.get_weights()[0].shape
            norm = (
                rng.uniform(0.5, 1.5, shape),
                rng.normal(0, 0.3, shape),
                rng.normal(0, 0.1, shape),
                rng.uniform(0.3, 2, shape),
            )
            layer.set_weights(norm)
    x = images(resolution)
    wanted = model.predict(x.transpose(0, 2, 3, 1), verbose=0)
    model.save(tmp_path / "model.keras")
    model.save(tmp_path / "model.h5")
    model.save_weights(tmp_path / "model.weights.h5")
    for name in ("model.keras", "model.h5", "model.weights.h5"):
        trained = import_file(tmp_path / name, Asked(res=resolution))
        assert (trained.design.alpha, trained.design.conv_padding, trained.design.classes) == (alpha, "keras", 12)
        assert np.abs(softmax(logits(trained, x)) - wanted).max() < 1e-5, name


def test_generic_names_and_models_inside_of_models_are_walked(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    base = keras.applications.MobileNet((96, 96, 3), alpha=0.25, weights=None, include_top=False)
    model = keras.Sequential(
        [
            keras.Input((96, 96, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            base,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    x = images(96)
    wanted = model.predict(127.5 * (x.transpose(0, 2, 3, 1) + 1), verbose=0)
    model.save(tmp_path / "transfer.h5")
    trained = import_file(tmp_path / "transfer.h5")
    assert trained.cell.id == "a0.25_r96_c4_keras"
    assert (trained.preprocessing.mean, trained.preprocessing.std) == pytest.approx((127.5, 127.5))
    assert np.abs(softmax(logits(trained, x)) - wanted).max() < 1e-5


def test_weights_without_a_top_have_no_classifier(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    keras.applications.MobileNet((96, 96, 3), alpha=0.25, weights=None, include_top=False).save(tmp_path / "no_top.h5")
    trained = import_file(tmp_path / "no_top.h5")
    assert not trained.has_classifier and trained.document()["classes"] is None
    (tmp_path / "w.safetensors").write_bytes(to_bytes(trained))
    assert not read_trained(tmp_path / "w.safetensors").has_classifier


@pytest.mark.parametrize("alpha, resolution", [(0.75, 96), (0.25, 128)])
def test_hugging_face_gives_the_same_logits(tmp_path: Path, alpha: float, resolution: int) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MobileNetV1Config(depth_multiplier=alpha, image_size=resolution, num_labels=1001)
    net = transformers.MobileNetV1ForImageClassification(config).eval()
    shuffle_norms(net)
    with torch.no_grad():
        wanted = net(torch.from_numpy(images(resolution))).logits.numpy()
    net.save_pretrained(tmp_path)
    trained = import_file(tmp_path / "model.safetensors", Asked(res=resolution))
    assert (trained.provenance.family, trained.provenance.label_offset) == ("huggingface", 1)
    assert np.abs(logits(trained, images(resolution)) - wanted).max() < 1e-4


@pytest.mark.parametrize("convention, epsilon", [("symmetric", 1e-5), ("same", 1e-3), ("keras", 1e-3)])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_any_state_dict_in_the_order_of_its_layers(tmp_path: Path, convention: str, epsilon: float, suffix: str) -> None:
    design = Design.of(0.5, 75, classes=7, conv_padding=convention)
    weights = Weights(random_weights(expand(design)).arrays, epsilon)
    state = to_torch(expand(design), weights).state_dict()
    file = tmp_path / f"net{suffix}"
    if suffix == ".pth":
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": array for name, array in state.items()}}, file)
    else:
        save_file({name: array.numpy() for name, array in state.items()}, file)
    trained = import_file(file, Asked(res=75, conv_padding=convention, epsilon=epsilon))
    assert trained.design == design
    assert np.abs(logits(trained, images(75)) - torch_logits(design, weights)).max() < 1e-4
    with pytest.raises(MnsweepError, match="`conv_padding`"):
        import_file(file, Asked(res=75))
    with pytest.raises(MnsweepError, match="`res`"):
        import_file(file, Asked(conv_padding=convention, epsilon=epsilon))


@pytest.mark.parametrize("some", [False, True])
def test_biases_before_batch_norm_are_kept_or_fold_into_its_means(tmp_path: Path, some: bool) -> None:
    design = Design.of(0.25, 64, classes=7, variant="conv-bias")
    arrays = dict(random_weights(expand(design)).arrays)
    if some:
        arrays["pointwise3.bias"] = np.zeros_like(arrays["pointwise3.bias"])
    weights = Weights(arrays, 1e-3)
    state = to_torch(expand(design), weights).state_dict()
    save_file({name: array.numpy() for name, array in state.items()}, tmp_path / "net.safetensors")
    trained = import_file(tmp_path / "net.safetensors", Asked(res=64, conv_padding="same", epsilon=1e-3))
    assert trained.design.variant == ("mobilenet" if some else "conv-bias")
    assert np.abs(logits(trained, images(64)) - torch_logits(design, weights)).max() < 1e-4


def test_a_slim_checkpoint_is_read_and_its_averages_preferred(tmp_path: Path) -> None:
    design = Design.of(0.25, 128, classes=1001)
    weights, others = random_weights(expand(design)), random_weights(expand(design), 1)
    arrays: dict[str, NDArray[Any]] = dict(slim_arrays(expand(design), others))
    arrays |= {f"{name}/ExponentialMovingAverage": array for name, array in slim_arrays(expand(design), weights).items()}
    arrays |= {
        "global_step": np.asarray(7, np.int64),
        "MobilenetV1/Conv2d_0/weights/RMSProp": np.ones((3, 3, 3, 8), np.float32),
    }
    file = write_checkpoint(tmp_path / "mobilenet_v1_0.25_128.ckpt", arrays)
    trained = import_file(file, Asked(res=128))
    assert trained.design == design and trained.provenance.label_offset == 1 and trained.preprocessing.crop == "slim"
    assert np.abs(logits(trained, images(128)) - torch_logits(design, weights)).max() < 1e-4
    (tmp_path / "mobilenet_v1_0.25_128.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(MnsweepError, match="data-00000-of-00001 beside it"):
        import_file(file, Asked(res=128))


@pytest.mark.parametrize("variant", ["mobilenet", "shallow", "conv-bias"])
def test_our_own_onnx_file_comes_back(tmp_path: Path, variant: str) -> None:
    design = Design.of(0.25, 64, variant=variant, classes=12)
    weights = random_weights(expand(design))
    (tmp_path / "m.onnx").write_bytes(build_onnx(expand(design), weights, batch=None))
    trained = import_file(tmp_path / "m.onnx")
    assert trained.design == Design.of(0.25, 64, variant=variant if variant == "shallow" else "mobilenet", classes=12)
    assert np.abs(logits(trained, images(64)) - torch_logits(design, weights)).max() < 1e-4


@pytest.mark.parametrize("folds", [True, False])
def test_torch_s_onnx_file_is_read(tmp_path: Path, folds: bool) -> None:
    design = Design.of(0.25, 64, classes=12, conv_padding="symmetric")
    weights = random_weights(expand(design))
    net = to_torch(expand(design), weights)
    training = torch.onnx.TrainingMode.EVAL if folds else torch.onnx.TrainingMode.PRESERVE
    file = tmp_path / "torch.onnx"
    torch.onnx.export(
        net, (torch.zeros(1, 3, 64, 64),), file, dynamo=False, training=training, do_constant_folding=folds, opset_version=17
    )
    trained = import_file(file)
    assert trained.design == design
    assert np.abs(logits(trained, images(64)) - torch_logits(design, weights)).max() < 1e-4


@given(
    st.sampled_from([0.25, 0.35, 0.5, 0.6, 0.75, 1.0, 1.3]),
    st.integers(32, 140),
    st.sampled_from(["same", "keras", "symmetric"]),
    st.sampled_from(["paper", "round8"]),
    st.sampled_from(["relu", "relu6"]),
)
@settings(max_examples=20, deadline=None)
def test_a_design_is_found_from_its_graph(alpha: float, resolution: int, convention: str, rule: str, activation: str) -> None:
    """The same layers, that is: on some sizes conventions come to the same, and at some widths rules do."""
    chosen: dict[str, Any] = {"conv_padding": convention, "width_rule": rule, "activation": activation}
    design = Design.of(alpha, resolution, classes=5, **chosen)
    file = Path("found.onnx")
    file.write_bytes(build_onnx(expand(design), random_weights(expand(design))))
    assert expand(import_file(file).design) == expand(design)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


def _own() -> dict[str, NDArray[Any]]:
    return dict(random_weights(expand(DESIGN)).arrays)


def _state(**changes: Any) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        state = {
            name: array.numpy() for name, array in to_torch(expand(DESIGN), random_weights(expand(DESIGN))).state_dict().items()
        }
        for name, change in changes.items():
            key = name.replace("__", ".")
            changed = change(state.get(key))
            if changed is None:
                state.pop(key)
            else:
                state[key] = changed
        save_file(state, file)

    return write


def _onnx(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        model = onnx.load_from_string(build_onnx(expand(DESIGN), random_weights(expand(DESIGN))))
        change(model.graph)
        onnx.save(model, file)

    return write


def _residual(graph: Any) -> None:
    for node in graph.node:
        if node.name == "depthwise9":
            graph.node.append(onnx.helper.make_node("Add", [node.input[0], node.output[0]], ["sum"], "shortcut"))
            return


def _external(graph: Any) -> None:
    tensor = graph.initializer[2]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def _swish(graph: Any) -> None:
    next(node for node in graph.node if node.op_type == "Clip").op_type = "HardSwish"


def _zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "hello")


def _lambda(file: Path) -> None:
    layers = [
        {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, 64, 64, 3]}},
        {"class_name": "Lambda", "config": {"name": "evil", "function": ["4wEA", None, None]}},
    ]
    with h5py.File(file, "w") as f:
        f.attrs["model_config"] = (
            str({"class_name": "Sequential", "config": {"layers": layers}}).replace("'", '"').replace("None", "null")
        )
        f.create_group("model_weights").attrs["layer_names"] = []


def _raw(content: bytes) -> Callable[[Path], None]:
    return lambda file: print(file.write_bytes(content))


def _text(content: str) -> Callable[[Path], None]:
    return _raw(content.encode())


class _Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("was_run",)


def _bomb(file: Path) -> None:
    """Zeros that compress a thousand times: 64 MB in a small file."""
    with h5py.File(file, "w") as f:
        f.attrs["layer_names"] = ["conv1"]
        f.create_group("conv1").attrs["weight_names"] = ["conv1/kernel:0"]
        f["conv1"].create_dataset("conv1/kernel:0", (4000, 4000), "f4", compression="gzip", fillvalue=0)[:] = 0


KNOWN = Asked(res=64, conv_padding="same", epsilon=1e-3)
BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing.safetensors": (_state(parts__depthwise3__conv__weight=lambda a: None), "12 depthwise"),
    "extra.safetensors": (
        _state(parts__stem__extra=lambda a: np.zeros((2, 2, 2), np.float32)),
        "arrays that no MobileNetV1 has",
    ),
    "nan.safetensors": (_state(parts__stem__conv__weight=lambda a: a * np.nan), "not finite numbers"),
    "width.safetensors": (
        _state(
            parts__pointwise5__conv__weight=lambda a: np.repeat(a, 2, 0),
            parts__pointwise5__norm__running_mean=lambda a: np.repeat(a, 2),
        ),
        "depthwise convolution there has (128, 1, 3, 3)",
    ),
    **{f"empty.{end}": (_raw(b""), "is empty") for end in ("safetensors", "pth", "pt", "bin", "h5", "keras", "onnx", "tflite")},
    "short.pth": (_raw(b"\x80"), "is no PyTorch file that can be read"),
    "text.tflite": (_text("hello there, this is text"), "is not a TensorFlow Lite file"),
    "text.h5": (_text("hello"), "is not an HDF5 file"),
    "text.onnx": (_text("hello"), "is not an ONNX file"),
    "archive.keras": (_zip, "without config.json"),
    "archive.h5": (_zip, "is not an HDF5 file"),
    "bomb.h5": (_bomb, "of a size that a MobileNet has"),
    "lambda.h5": (_lambda, "evil (Lambda)"),
    "code.pth": (_raw(pickle.dumps(_Evil())), "pickled code is not run"),
    "shortcut.onnx": (_onnx(_residual), "shortcut"),
    "swish.onnx": (_onnx(_swish), "HardSwish"),
    "external.onnx": (_onnx(_external), "in another file, which is not opened"),
    "model.caffemodel": (_text("x"), "is no known format"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_mobilenet_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    write, said = BAD[name]
    file = tmp_path / name
    write(file)
    with pytest.raises(MnsweepError) as refused:
        import_file(file, KNOWN)
    text = str(refused.value)
    assert said in text and name in text and "\n" not in text and len(text) < 700
    assert not Path("was_run").exists()


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    for name, said in (("nothing.h5", "no such file"), ("pipe.h5", "is not a file")):
        with pytest.raises(MnsweepError, match=said):
            import_file(tmp_path / name)


def test_a_damaged_file_of_ours_is_named(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    trained = trained_of(DESIGN, random_weights(expand(DESIGN)))
    arrays = {name: array for name, array in trained.weights.arrays.items() if name != "stem.mean"}
    file.write_bytes(to_bytes(trained_of(DESIGN, Weights(arrays))))
    with pytest.raises(MnsweepError, match=r"w\.safetensors: weights: stem\.mean is missing"):
        import_file(file)
    file.write_bytes(to_bytes(trained).replace(b'\\"cell\\": \\"a0.25', b'\\"cell\\": \\"a0.26'))
    with pytest.raises(MnsweepError, match=r"w\.safetensors: .*shape"):
        import_file(file)


MUTATED: dict[str, bytes] = {}


def _samples() -> dict[str, bytes]:
    """A small file of each format that untrusted bytes may claim to be."""
    if not MUTATED:
        folder = Path("samples")
        folder.mkdir()
        _state()(folder / "net.safetensors")
        _onnx(lambda graph: None)(folder / "net.onnx")
        with h5py.File(folder / "net.h5", "w") as f:
            f.attrs["layer_names"] = ["conv1"]
            group = f.create_group("conv1")
            group.attrs["weight_names"] = ["conv1/kernel:0"]
            group["conv1/kernel:0"] = np.ones((3, 3, 3, 8), np.float32)
        (folder / "own.safetensors").write_bytes(to_bytes(trained_of(DESIGN, random_weights(expand(DESIGN)))))
        write_checkpoint(folder / "net.ckpt", slim_arrays(expand(DESIGN), random_weights(expand(DESIGN))))
        MUTATED.update({file.name: file.read_bytes() for file in folder.iterdir()})
    return MUTATED


@given(st.sampled_from(["net.safetensors", "net.onnx", "own.safetensors", "net.ckpt.index"]), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_bytes_are_an_error_in_one_line(name: str, data: st.DataObject) -> None:
    samples = _samples()
    content = bytearray(samples[name])
    near = min(len(content), 3000)  # headers, mostly
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, near - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    Path(name).write_bytes(content[:cut])
    Path("net.ckpt.data-00000-of-00001").write_bytes(samples["net.ckpt.data-00000-of-00001"])
    try:
        import_file(Path(name), KNOWN)
    except MnsweepError as error:
        assert "\n" not in str(error)
