"""The parts of a training: recipes, rates, losses, data, the loop that goes on where it stopped, and rounding as int8 does."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mnsweep.arch.expand import expand
from mnsweep.cell import Design
from mnsweep.errors import MnsweepError
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.torch_net import from_torch, to_torch
from mnsweep.graph.weights import folded_arrays, random_weights
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.tasks.classes import Classes
from mnsweep.training import loop as loops
from mnsweep.training.augment import augmented, drawn_moves
from mnsweep.training.checkpoint import read_checkpoint, write_checkpoint
from mnsweep.training.loop import Epoch, Job, Pictures, train
from mnsweep.training.memory import fitting_batch, training_bytes
from mnsweep.training.objectives.classes import ClassObjective, loss_of
from mnsweep.training.optimizer import optimizer_of, rate_at
from mnsweep.training.quantized import Rounded, folded_net, folded_weights, observed_ranges
from mnsweep.training.recipe import BUNDLED, KEYS, Recipe, read_recipe, recipe_of
from mnsweep.training.start import fresh_net, net_from
from mnsweep.training.teacher import open_teacher
from tests.test_quantize import DESIGN as LIVELY
from tests.test_quantize import as_written, images, lively

TINY = Design.of(0.25, 32, classes=2)
QUICK = Recipe(
    optimizer="adamw",
    lr=0.005,
    epochs=3,
    batch=8,
    warm_up=0.5,
    ema=0.5,
    shift=0.1,
    zoom=0.1,
    turn=5,
    colour=0.1,
    norm_momentum=0.5,
)


@pytest.fixture(autouse=True)
def one_thread_of_torch() -> Iterator[None]:
    """Small batches run faster on one thread, and others run tests beside these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made_up(count: int = 24, seed: int = 0) -> Pictures:
    """Dark pictures of class 0, bright ones of class 1."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pixels = (rng.integers(0, 60, (count, 32, 32, 3)) + 150 * labels[:, None, None, None]).astype(np.uint8)
    return Pictures(pixels, labels, pixels[:10], labels[:10], Preprocessing())


def job(recipe: Recipe = QUICK, key: str = "key", **about: Any) -> Job:
    return Job(name="a0.25_r32_c2", key=key, net=fresh_net(TINY, 0), recipe=recipe, seed=1, **about)


def arrays(of: Job) -> dict[str, np.ndarray[Any, Any]]:
    return {name: value.numpy().copy() for name, value in of.net.state_dict().items()}


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_recipes_are_read_and_say_what_they_are(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.document() == {**recipe.document(), "optimizer": recipe.optimizer} and {*recipe.document()} == {*KEYS}
    text = (Path(loops.__file__).parent / f"recipes/{name}.toml").read_text()
    assert all(f"# {word}:" in text for word in ("What", "Source", "Cost", "Result"))


def test_settings_replace_those_of_the_recipe() -> None:
    changed = read_recipe("modern", "lr=0.5, epochs=2,flip=true,schedule=constant")
    assert (changed.lr, changed.epochs, changed.flip, changed.schedule) == (0.5, 2, True, "constant")
    assert changed == msgspec.structs.replace(read_recipe("modern"), lr=0.5, epochs=2, flip=True, schedule="constant")


@pytest.mark.parametrize(
    ("name", "changes", "part"),
    [
        ("fast", None, "no such recipe"),
        ("modern", "speed=3", "unknown key 'speed'"),
        ("modern", "lr", "is not KEY=VALUE"),
        ("modern", "lr=", "is not KEY=VALUE"),
        ("modern", "lr=fast", "lr: expected"),
        ("modern", "lr=-1", "lr: "),
        ("modern", "lr=nan", "lr: "),
        ("modern", "lr=inf", "lr: "),
        ("modern", "epochs=0", "epochs: "),
        ("modern", "epochs=1.5", "epochs: "),
        ("modern", "batch=1e9", "batch: "),
        ("modern", "optimizer=lion", "optimizer: "),
    ],
)
def test_what_is_wrong_with_a_recipe_is_named(name: str, changes: str | None, part: str) -> None:
    with pytest.raises(MnsweepError) as error:
        read_recipe(name, changes)
    assert part in str(error.value) and "\n" not in str(error.value)


def test_a_recipe_file_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('optimizer = "sgd"\nlr = 0.1\nepochs = 1\nbatch = 8\n')
    assert read_recipe(str(path)).optimizer == "sgd"
    path.write_text(path.read_text() + "rate = 3\n")
    with pytest.raises(MnsweepError, match="unknown key 'rate'"):
        read_recipe(str(path))
    path.write_text("optimizer = ")
    with pytest.raises(MnsweepError, match="is not TOML"):
        read_recipe(str(path))


def test_rates_are_those_of_torch_s_schedulers() -> None:
    recipe = recipe_of({"optimizer": "sgd", "lr": 0.3, "epochs": 5, "batch": 4}, "x")
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], 0.3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    for step in range(50):
        assert rate_at(step, 10, recipe) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        cosine.step()
    falling = msgspec.structs.replace(recipe, schedule="exponential", decay=0.5)
    assert rate_at(20, 10, falling) == pytest.approx(0.3 / 4)
    assert rate_at(49, 10, msgspec.structs.replace(recipe, schedule="constant")) == 0.3
    warm = [rate_at(step, 10, msgspec.structs.replace(recipe, warm_up=1.0)) for step in range(11)]
    assert warm == sorted(warm) and warm[0] < 0.05 and warm[10] == pytest.approx(0.3)


def test_depthwise_filters_norms_and_lower_layers_have_their_own_decay_and_rate() -> None:
    recipe = recipe_of({"optimizer": "sgd", "lr": 1, "epochs": 1, "batch": 4, "weight_decay": 0.5, "layer_decay": 0.9}, "x")
    net = fresh_net(TINY, 0)
    by_parameter = {
        id(p): (group["weight_decay"], group["factor"])
        for group in optimizer_of(net, recipe).param_groups
        for p in group["params"]
    }
    assert len(by_parameter) == len(list(net.parameters()))
    for name, parameter in net.named_parameters():
        decay, factor = by_parameter[id(parameter)]
        is_depthwise = parameter.ndim == 4 and parameter.shape[1] == 1
        assert decay == (0.5 if parameter.ndim > 1 and not is_depthwise else 0.0), name
        assert (factor == 1.0) == name.startswith("parts.classifier"), name


@given(seed=st.integers(0, 10_000), smoothing=st.floats(0, 0.9), weight=st.floats(0, 1), temperature=st.floats(0.5, 10))
@settings(max_examples=30, deadline=None)
def test_the_loss_is_the_textbook_s(seed: int, smoothing: float, weight: float, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    logits, teacher = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    labels = rng.integers(0, 3, 4)

    def softened(values: Any, by: float) -> Any:
        powers = np.exp(values / by - (values / by).max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    wanted = np.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    own = -(wanted * np.log(softened(logits, 1.0))).sum(1).mean()
    p, q = softened(teacher, temperature), softened(logits, temperature)
    divergence = (p * np.log(p / q)).sum(1).mean() * temperature**2
    recipe = msgspec.structs.replace(QUICK, label_smoothing=smoothing, teacher_weight=weight, temperature=temperature)
    tensors = torch.from_numpy(logits), ClassObjective(3).target(torch.from_numpy(labels)).double()
    assert float(loss_of(*tensors, recipe)) == pytest.approx(own, rel=1e-6, abs=1e-9)
    taught = float(loss_of(*tensors, recipe, torch.from_numpy(teacher)))
    assert taught == pytest.approx((1 - weight) * own + weight * divergence, rel=1e-6, abs=1e-9)


def test_mixing_keeps_targets_probabilities_and_pairs_them_with_their_pictures() -> None:
    images = torch.eye(4).reshape(4, 4, 1, 1)
    mixed_images, wanted = ClassObjective(4).mixed(
        images, torch.eye(4), msgspec.structs.replace(QUICK, mixup=1.0), torch.Generator().manual_seed(3)
    )
    assert torch.allclose(mixed_images[:, :, 0, 0], wanted) and torch.allclose(wanted.sum(1), torch.ones(4))
    assert not torch.equal(wanted, torch.eye(4))


def moved(images: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Pictures as a training sees them."""
    return augmented(images, recipe, generator, drawn_moves(len(images), recipe, generator))


def test_augmentation_that_does_nothing_changes_nothing_and_mirroring_mirrors() -> None:
    images = torch.rand(6, 3, 8, 8) * 255
    still = msgspec.structs.replace(QUICK, shift=0, zoom=0, turn=0, colour=0)
    assert torch.equal(moved(images, still, torch.Generator()), images)
    flipped = moved(images, msgspec.structs.replace(still, flip=True), torch.Generator().manual_seed(0))
    same, turned = ((flipped - other).abs().amax((1, 2, 3)) < 1e-2 for other in (images, images.flip(3)))
    assert bool((same ^ turned).all()) and same.any() and turned.any()


def test_augmentation_moves_and_brightens_within_its_limits() -> None:
    images = torch.full((50, 3, 8, 8), 100.0)
    bright = augmented(images, msgspec.structs.replace(QUICK, colour=0.2), torch.Generator().manual_seed(0))
    means = bright.mean((1, 2, 3))
    assert 79 < float(means.min()) < 90 and 110 < float(means.max()) < 121  # contrast and colour change no flat grey
    dot = torch.zeros(30, 3, 33, 33)
    dot[:, :, 16, 16] = 255
    shifted = msgspec.structs.replace(QUICK, zoom=0, turn=0, colour=0, shift=0.2)
    places = moved(dot, shifted, torch.Generator().manual_seed(1)).mean(1).flatten(1).argmax(1)
    away = torch.stack([places // 33 - 16, places % 33 - 16]).abs()
    assert 3 <= int(away.max()) <= 7  # 0.2 × 33 px


def test_a_training_learns_and_keeps_the_best_of_its_epochs() -> None:
    one = job(msgspec.structs.replace(QUICK, epochs=8, batch=16, lr=0.01, ema=0, norm_momentum=0.3))
    done = train(one, made_up(48))
    assert done.epochs[-1].loss < done.epochs[0].loss and done.best_pct == 100.0
    assert done.best_epoch == next(e.epoch for e in done.epochs if e.validation_pct == done.best_pct)
    net = to_torch(expand(TINY), from_torch(one.net))
    pixels = torch.from_numpy(made_up().validation).permute(0, 3, 1, 2).float()
    assert (net((pixels - 127.5) / 127.5).argmax(1).numpy() == made_up().validation_truths).all()


def test_one_seed_gives_one_curve_and_the_same_bits() -> None:
    first, second, other = job(), job(), Job(name="x", key="k", net=fresh_net(TINY, 0), recipe=QUICK, seed=2)
    curves = [_numbers(train(one, made_up()).epochs) for one in (first, second, other)]
    assert curves[0] == curves[1] != curves[2]
    assert all((a == b).all() for a, b in zip(arrays(first).values(), arrays(second).values(), strict=True))


@pytest.mark.parametrize("stopped_after", [1, 2])
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path: Path, stopped_after: int) -> None:
    whole, part = job(), job()
    wanted = train(whole, made_up())

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == stopped_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(part, made_up(), tmp_path / "c", stop)
    seen: list[int] = []
    again = job()
    continued = train(again, made_up(), tmp_path / "c", lambda epoch: seen.append(epoch.epoch))
    assert seen == list(range(stopped_after + 1, 4))
    assert all((a == b).all() for a, b in zip(continued.last.values(), wanted.last.values(), strict=True))
    assert _numbers(continued.epochs) == _numbers(wanted.epochs)
    assert all((a == b).all() for a, b in zip(arrays(whole).values(), arrays(again).values(), strict=True))


def _numbers(epochs: list[Epoch]) -> list[tuple[float, ...]]:
    """What must be the same again: all but the times."""
    return [(e.epoch, e.loss, e.validation_loss, e.validation_pct, e.lr) for e in epochs]


def test_a_checkpoint_of_another_training_is_not_continued(tmp_path: Path) -> None:
    train(job(), made_up(), tmp_path / "c")
    assert read_checkpoint(tmp_path / "c", "key") is not None and read_checkpoint(tmp_path / "c", "other") is None


def test_a_checkpoint_that_can_t_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "c", {"job": "a", "step": 1})

    def full(state: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mnsweep.training.checkpoint.torch.save", full)
    with pytest.raises(MnsweepError, match="No space left"):
        write_checkpoint(tmp_path / "c", {"job": "a", "step": 2})
    monkeypatch.undo()
    assert read_checkpoint(tmp_path / "c", "a") == {"job": "a", "step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04", b"x" * 5000])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(MnsweepError, match="damaged checkpoint"):
        read_checkpoint(tmp_path / "c", "a")


def test_a_loss_that_is_no_number_stops_and_keeps_the_epochs_before(tmp_path: Path) -> None:
    good = train(job(msgspec.structs.replace(QUICK, epochs=1)), made_up(), tmp_path / "c")
    state = read_checkpoint(tmp_path / "c", "key")
    assert state is not None and good.epochs
    wild = job(teacher=lambda images: torch.full((len(images), 2), torch.nan))
    with pytest.raises(MnsweepError) as error:
        train(wild, made_up(), tmp_path / "c")
    assert "not a finite number in epoch 2, step 4" in str(error.value) and "smaller rate" in str(error.value)
    kept = read_checkpoint(tmp_path / "c", "key")
    assert kept is not None and kept["step"] == state["step"] == 3


def test_patience_ends_a_training_that_gets_no_better() -> None:
    pictures = made_up()
    hopeless = Pictures(pictures.train, pictures.truths, pictures.train[:1], np.array([1]), Preprocessing())
    recipe = msgspec.structs.replace(QUICK, epochs=20, patience=2, lr=1e-6)
    done = train(job(recipe), hopeless)
    assert len(done.epochs) == done.best_epoch + 2 < 20


def test_frozen_norms_keep_their_statistics() -> None:
    frozen, free = (job(msgspec.structs.replace(QUICK, frozen_norm=on, ema=0)) for on in (True, False))
    before = arrays(frozen)
    for one in (frozen, free):
        train(one, made_up())
    means = [name for name in before if name.endswith("running_mean")]
    assert all((arrays(frozen)[name] == before[name]).all() for name in means)
    assert not all((arrays(free)[name] == before[name]).all() for name in means)


def test_a_network_starts_from_weights_with_a_new_classifier_where_classes_differ() -> None:
    source = replace(TINY, classes=5)
    weights = random_weights(expand(source))
    net, is_new = net_from(TINY, weights, 0)
    kept = from_torch(net).arrays
    assert is_new and kept["classifier.weight"].shape[0] == 2
    assert all((kept[n] == a).all() for n, a in weights.arrays.items() if not n.startswith("classifier"))
    assert net_from(replace(source, resolution=64), weights, 0)[1] is False


def test_the_user_s_own_torch_stays_as_it_is() -> None:
    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with loops.reproducible(2):
        fresh_net(TINY, 7)
        assert torch.get_num_threads() == 2 and torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[1:]


def test_a_student_follows_its_teacher(tmp_path: Path) -> None:
    """With no weight on the labels, all that is learned comes from the teacher, who tells them the wrong way round."""

    def contrary(images: torch.Tensor) -> torch.Tensor:
        bright = images.mean((1, 2, 3)) > 0
        return functional.one_hot((~bright).long(), 2).float() * 20

    recipe = msgspec.structs.replace(
        QUICK, teacher_weight=1.0, temperature=1.0, epochs=8, batch=16, lr=0.01, ema=0, norm_momentum=0.3, colour=0
    )
    done = train(job(recipe, teacher=contrary), made_up(48))
    assert done.epochs[-1].validation_pct == 0.0


def test_teachers_are_torchscript_too_and_must_have_the_classes(tmp_path: Path) -> None:
    net = to_torch(expand(TINY), random_weights(expand(TINY)))
    torch.jit.trace(net, torch.zeros(1, 3, 32, 32)).save(str(tmp_path / "t.pt"))  # type: ignore[no-untyped-call]
    images = torch.randn(3, 3, 32, 32)
    answered = open_teacher(tmp_path / "t.pt", 2, 32, Preprocessing())(images)
    assert torch.allclose(answered, net(images), atol=1e-5)
    with pytest.raises(MnsweepError, match="has 2 outputs, the student has 3"):
        open_teacher(tmp_path / "t.pt", 3, 32, Preprocessing())
    (tmp_path / "broken.ts").write_bytes(b"no network")
    with pytest.raises(MnsweepError, match="is no network that can be read"):
        open_teacher(tmp_path / "broken.ts", 2, 32, Preprocessing())


def test_rounding_in_training_is_nearer_to_the_int8_file_than_the_float_network_is() -> None:
    net = to_torch(expand(LIVELY), lively())
    seen = np.rint(images(24, 0).transpose(0, 2, 3, 1) * 127.5 + 127.5).astype(np.uint8)
    ranges = observed_ranges(net, seen, Preprocessing())
    folded = folded_net(net)
    asked = (torch.from_numpy(seen[:8]).permute(0, 3, 1, 2).float() - 127.5) / 127.5
    with torch.no_grad():
        floats, rounded = net(asked).numpy(), Rounded(folded, ranges, 8)(asked).numpy()
        assert np.allclose(folded(asked).numpy(), floats, atol=1e-4)
    deployed = as_written(build_onnx(folded.layers, folded_weights(folded), 8, ranges, "test", 8), asked.numpy())
    assert np.abs(rounded - deployed).mean() < 0.6 * np.abs(floats - deployed).mean()


def test_gradients_pass_through_the_rounding() -> None:
    net = folded_net(to_torch(expand(TINY), random_weights(expand(TINY), 3)))
    pictures = made_up(16)
    ranges = observed_ranges(net, pictures.train, pictures.preprocessing)
    before = folded_arrays(net.layers, folded_weights(net))
    rounded = Rounded(net, ranges, 8)
    recipe = msgspec.structs.replace(QUICK, epochs=1, ema=0)
    done = train(Job(name="q", key="q", net=net, recipe=recipe, seed=0, forward=rounded), pictures)
    changed = folded_weights(net).arrays
    assert math.isfinite(done.epochs[0].loss)
    assert all((changed[name] != array).any() for name, array in before.items() if name.endswith("weight"))


@given(batch=st.integers(1, 512), pixels=st.integers(0, 10**9))
def test_the_batch_that_fits_fits_and_one_more_does_not(batch: int, pixels: int) -> None:
    layers = expand(TINY)
    available = training_bytes(layers, 1000, batch, pixels)
    assert fitting_batch(layers, 1000, pixels, available) == batch
    assert fitting_batch(layers, 1000, pixels, available - 1) == batch - 1


def _folder(root: Path, counts: dict[str, int]) -> Path:
    from PIL import Image

    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(root / name / f"{i}.png")
    return root


def test_a_folder_is_split_by_class_the_same_way_for_one_seed(tmp_path: Path) -> None:
    data = _folder(tmp_path / "d", {"a": 10, "b": 3, "c": 2})
    split, again, other = (Classes().split(data, seed) for seed in (0, 0, 1))
    assert split.train.paths == again.train.paths != other.train.paths
    assert not split.is_own and split.names == ("a", "b", "c")
    assert {*split.train.paths} & {*split.validation.paths} == set()
    assert len(split.train.paths) + len(split.validation.paths) == 15
    assert [split.validation.truths.tolist().count(label) for label in range(3)] == [2, 1, 1]


def test_a_list_in_csv_names_its_classes(tmp_path: Path) -> None:
    _folder(tmp_path / "d", {"x": 6})
    rows = [f"d/x/{i}.png,{'cat' if i % 2 else 'dog'}" for i in range(6)]
    (tmp_path / "list.csv").write_text("\n".join(["picture,label", *rows]))
    split = Classes().split(tmp_path / "list.csv", 0)
    assert split.names == ("cat", "dog") and {*split.train.truths.tolist()} == {0, 1}


@pytest.mark.parametrize(
    ("train_counts", "val_counts", "part"),
    [
        ({"a": 3}, None, "one class only"),
        ({"a": 3, "b": 1}, None, "'b' has 1 picture"),
        ({"a": 3, "b": 0}, None, "'b' has no pictures"),
        ({"a": 3, "b": 3}, {"a": 2}, "'b' is in train alone"),
        ({"a": 3, "b": 3}, {"a": 2, "b": 1, "c": 1}, "'c' is in val alone"),
    ],
)
def test_data_that_nothing_can_be_learned_from_is_refused(
    tmp_path: Path, train_counts: dict[str, int], val_counts: dict[str, int] | None, part: str
) -> None:
    _folder(tmp_path / "d" / ("train" if val_counts else "."), train_counts)
    if val_counts:
        _folder(tmp_path / "d/val", val_counts)
    with pytest.raises(MnsweepError) as error:
        Classes().split(tmp_path / "d", 0)
    assert part in str(error.value)
