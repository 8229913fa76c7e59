from unittest.mock import Mock

import pytest
import torch
from torch import Generator, Tensor

from physgan.data.synthesis import synthesise
from physgan.errors import ThetaError
from physgan.physics import haze
from physgan.physics.blur import Blur, DiscKernels
from physgan.physics.compose import SENSOR, Chain, Degradation, Stage
from physgan.physics.haze import DepthHaze, HazyScenes
from physgan.physics.jpeg import Jpeg, jpeg
from physgan.physics.rain import DrawnRain, Rain
from physgan.physics.sensor import Clip, Noise, Round, SensorChain, add_noise
from physgan.recipes.build import build_degradation
from physgan.recipes.load import load_recipe, shipped_recipes
from physgan.types import Operator, Theta


class Halve:
    """Takes every second sample; its theta is the size of the picture it was drawn for."""

    scale = 2

    def __call__(self, x: Tensor, theta: Theta, /) -> Tensor:
        return x[..., ::2, ::2]

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        return {"size": torch.tensor([x.shape[-2:]] * len(x))}


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def foggy_lens(sensor: SensorChain | None = None) -> Degradation:
    stages = {
        "haze": Stage(DepthHaze(), HazyScenes()),
        "blur": Stage(Blur(), DiscKernels((1.0, 2.0))),
    }
    return Degradation(stages, sensor)


def test_chain_is_one_after_another() -> None:
    x = torch.rand(2, 3, 12, 12, generator=generator())
    theta = foggy_lens().sample(x, generator=generator())
    hazy_first = Chain({"haze": DepthHaze(), "blur": Blur()})(x, theta)
    assert torch.equal(hazy_first, Blur()(DepthHaze()(x, theta["haze"]), theta["blur"]))
    blurred_first = Chain({"blur": Blur(), "haze": DepthHaze()})(x, theta)
    assert torch.equal(blurred_first, DepthHaze()(Blur()(x, theta["blur"]), theta["haze"]))
    assert not torch.allclose(hazy_first, blurred_first)


def test_missing_stage() -> None:
    chain = Chain({"haze": DepthHaze()})
    x = torch.rand(1, 3, 4, 4)
    with pytest.raises(ThetaError, match=r"parameters of the stage 'haze'.*Did you mean 'hase'"):
        chain(x, {"hase": {}, SENSOR: {}})
    with pytest.raises(ThetaError, match="got stages none"):
        chain(x, {})


@pytest.mark.parametrize("names", [[], [SENSOR], ["blur", SENSOR], ["a.b"]])
def test_names_of_stages(names: list[str]) -> None:
    operators: dict[str, Operator] = {name: Blur() for name in names}
    with pytest.raises(ThetaError, match=rf"stages of a chain.*got ({', '.join(names) or 'none'})"):
        Chain(operators)
    with pytest.raises(ThetaError, match="stages of a chain"):
        Degradation({name: Stage(Blur(), DiscKernels()) for name in names})


def test_sample_is_nested_by_stage() -> None:
    x = torch.rand(2, 3, 12, 16)
    camera = SensorChain([Noise(), Clip()])
    theta = foggy_lens(camera).sample(x, generator=generator())
    assert {stage: set(part) for stage, part in theta.items()} == {
        "haze": {"depth", "beta", "airlight"},
        "blur": {"kernel"},
        "sensor": {"sigma"},
    }
    # Each stage's own sampler, in order, from one generator.
    own = generator()
    wanted = [
        HazyScenes().sample(x, generator=own),
        DiscKernels((1.0, 2.0)).sample(x, generator=own),
        camera.sample(x, generator=own),
    ]
    for part, other in zip(theta.values(), wanted, strict=True):
        assert all(torch.equal(part[name], other[name]) for name in other)


def test_theta_of_one_stage_is_nested_too() -> None:
    x = torch.rand(1, 3, 4, 4)
    theta = Degradation({"blur": Stage(Blur(), DiscKernels())}).sample(x, generator=generator())
    assert theta.keys() == {"blur", SENSOR}
    assert theta[SENSOR] == {}


def test_sense_takes_the_sensors_part() -> None:
    y = torch.rand(2, 3, 6, 6, generator=generator())
    camera = SensorChain([Noise(), Clip(), Round()])
    degradation = foggy_lens(camera)
    theta = degradation.sample(y, generator=generator())
    seen = degradation.sense(y, theta, generator=generator(1))
    assert torch.equal(seen, camera(y, theta[SENSOR], generator=generator(1)))
    # Without a sensor, and without its part of theta, the camera is perfect.
    assert foggy_lens().sense(y, {"blur": {}}, generator=generator()) is y


def test_scales_multiply() -> None:
    assert Chain({"blur": Blur()}).scale == 1
    assert Chain({"a": Halve(), "blur": Blur(), "b": Halve()}).scale == 4


@pytest.mark.parametrize("size", [(16, 12), (13, 7)])
def test_later_stages_see_the_smaller_picture(size: tuple[int, int]) -> None:
    degradation = Degradation(
        {
            "first": Stage(Halve(), Halve()),
            "haze": Stage(DepthHaze(), HazyScenes()),
            "second": Stage(Halve(), Halve()),
        }
    )
    x = torch.rand(2, 3, *size)
    theta = degradation.sample(x, generator=generator())
    half = tuple(-(-side // 2) for side in size)
    assert theta["first"]["size"].tolist() == [list(size)] * 2
    assert theta["second"]["size"].tolist() == [list(half)] * 2
    assert theta["haze"]["depth"].shape == (2, 1, *half)
    assert degradation.operator(x, theta).shape == (2, 3, *(-(-side // 2) for side in half))


def test_what_was_measured_takes_the_place_of_what_is_drawn() -> None:
    x = torch.rand(2, 3, 12, 12, generator=generator())
    chain = foggy_lens()
    drawn = chain.sample(x, generator=generator())
    depth = torch.rand(2, 1, 12, 12, generator=generator(1))
    # A kernel is no map, and nothing has a map of this name.
    known = {"depth": depth, "kernel": torch.zeros(2, 3, 3), "colour": depth}
    theta = chain.sample(x, generator=generator(), known=known)
    assert theta["haze"]["depth"] is depth
    for stage, part in drawn.items():
        assert theta[stage].keys() == part.keys()
    for name in ("beta", "airlight"):
        assert torch.equal(theta["haze"][name], drawn["haze"][name])
    batch = synthesise(x, chain, generator=generator(), known=known)
    assert batch.theta["haze"]["depth"] is depth
    assert chain.stages_with("depth") == ["haze"]
    assert chain.stages_with("kernel") == []


def test_what_is_known_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haze, "scene_depth", Mock(side_effect=AssertionError("drawn in vain")))
    x, depth = torch.rand(2, 3, 12, 12), torch.rand(2, 1, 12, 12)
    chain = foggy_lens()
    assert chain.sample(x, generator=generator(), known={"depth": depth})["haze"]["depth"] is depth
    with pytest.raises(AssertionError, match="in vain"):
        chain.sample(x, generator=generator())


def test_what_cannot_be_spared_is_drawn_and_left() -> None:
    class Depths:
        def sample(self, x: Tensor, /, *, generator: Generator) -> Theta:
            n, c = x.shape[:2]
            return {"depth": x[:, :1], "beta": torch.ones(n), "airlight": torch.ones(n, c)}

    x, depth = torch.rand(2, 3, 12, 12), torch.rand(2, 1, 12, 12)
    chain = Degradation({"haze": Stage(DepthHaze(), Depths())})
    theta = chain.sample(x, generator=generator(), known={"depth": depth})
    assert theta["haze"]["depth"] is depth
    assert theta["haze"]["beta"].tolist() == [1, 1]


def test_check_looks_at_every_stage() -> None:
    class Picky(Halve):
        def check(self, theta: Theta) -> None:
            if bool((theta["size"] < 6).any()):
                raise ValueError("a side below 6")

    chain = Chain({"haze": DepthHaze(), "half": Halve(), "quarter": Picky()})
    x = torch.rand(1, 3, 12, 12, generator=generator())
    haze = HazyScenes().sample(x, generator=generator())
    sizes = {"size": torch.tensor([[12, 12]])}
    theta: dict[str, dict[str, Tensor]] = {"haze": haze, "half": sizes, "quarter": sizes}
    chain.check(theta)
    with pytest.raises(ThetaError, match=r"stage 'quarter'.*got a side below 6"):
        chain.check(theta | {"quarter": {"size": torch.tensor([[5, 12]])}})
    with pytest.raises(ThetaError, match="airlight of a haze"):
        chain.check(theta | {"haze": haze | {"airlight": haze["airlight"] * 255}})
    with pytest.raises(ThetaError, match="parameters of the stage 'half'"):
        chain.check({"haze": haze, "quarter": sizes})


@pytest.mark.parametrize("name", [n for n in shipped_recipes() if "/" not in n])
def test_the_truth_explains_itself_without_noise(name: str) -> None:
    # Where the camera saturates too, as heavy rain on a bright sky makes it.
    chain = build_degradation(load_recipe(name).physics)
    x = 0.5 + 0.5 * torch.rand(4, 3, 64, 64, generator=generator())
    theta = chain.sample(x, generator=generator(1))
    light, y_hat = chain.expose(x, theta)
    assert torch.equal(y_hat, light.clamp(0, 1))
    assert isinstance(chain.sensor, SensorChain)
    # What noise and JPEG do to an image is no part of what explains it.
    kept = [stage for stage in chain.sensor.stages if not isinstance(stage, Noise | Jpeg)]
    quiet = SensorChain(kept)
    y = quiet(light, theta[SENSOR], generator=generator())
    assert float((y_hat - y).abs().max()) <= 0.5 / 255 + 1e-6


def test_a_camera_that_does_not_clip_loses_nothing() -> None:
    chain = Degradation({"rain": Stage(Rain(), DrawnRain())})
    x = torch.ones(1, 3, 16, 16)
    theta = chain.sample(x, generator=generator())
    light, y_hat = chain.expose(x, theta)
    assert y_hat is light
    assert light.max() > 1


def test_check_looks_at_the_sensor() -> None:
    chain = foggy_lens(SensorChain([Noise((0.0, 0.1)), Clip()]))
    theta = chain.sample(torch.rand(2, 3, 12, 12), generator=generator())
    chain.check(theta)
    with pytest.raises(ThetaError, match="sigma of the noise"):
        chain.check(theta | {SENSOR: {"sigma": theta[SENSOR]["sigma"] * 255}})
    with pytest.raises(ThetaError, match="a parameter 'sigma'"):
        chain.check({name: part for name, part in theta.items() if name != SENSOR})


def test_blur_with_noise_with_jpeg() -> None:
    sensor = SensorChain([Noise((0.02, 0.05)), Clip(), Jpeg((20, 60))])
    chain = Degradation({"blur": Stage(Blur(), DiscKernels((1.0, 2.0)))}, sensor)
    x = torch.rand(2, 3, 24, 32, generator=generator())
    batch, again = (synthesise(x, chain, generator=generator(1)) for _ in range(2))
    assert torch.equal(batch.y, again.y)
    # In this order: blurred, then noisy, then compressed, by hand.
    same = generator(1)
    theta = chain.sample(x, generator=same)
    noisy = add_noise(Blur()(x, theta["blur"]), theta[SENSOR]["sigma"], generator=same)
    assert torch.equal(batch.y, jpeg(noisy.clamp(0, 1), theta[SENSOR]["quality"]))
    leaf = x.clone().requires_grad_()
    y_hat = chain.sense(chain.operator(leaf, theta), theta, generator=generator())
    (gradient,) = torch.autograd.grad((y_hat - batch.y).abs().mean(), leaf)
    assert torch.isfinite(gradient).all()
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()
