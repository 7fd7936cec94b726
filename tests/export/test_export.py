"""The trained model in other libraries, and theirs here: equal outputs."""

import importlib.util
import sys

import pytest
import tiny
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from dualprior.common.errors import UserError
from dualprior.diffusion import checkpoint
from dualprior.diffusion.gain_tuning import no_gains, with_gains
from dualprior.export.write import export

CPU = torch.device("cpu")
X0 = tiny.images(2, 16)
EPS = torch.randn(X0.shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def ours(tmp_path):
    """A folder with a small model of random weights, in float32."""
    network = {"channels": 8, "multipliers": [1, 2], "blocks": 1, "patch": 2}
    torch.manual_seed(0)
    denoiser = checkpoint.build(network, "v", "float32", CPU)
    for weight in denoiser.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    checkpoint.save(tmp_path / "model", denoiser, checkpoint.weights(denoiser), network, "float32", {"kind": "lognormal", "timesteps": 100})
    return tmp_path / "model"


def test_diffusers_own_pipeline_runs_our_model_and_sees_the_same_image(ours, tmp_path):
    export(ours, "diffusers", tmp_path / "out")
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "out", trust_remote_code=True)
    model = checkpoint.load(ours, CPU)
    for t in (3, 50, 99):
        sigma = float(model.levels[t])
        x = X0 + sigma * EPS
        given = x / (1 + sigma**2) ** 0.5
        with torch.no_grad():
            out = pipeline.unet(given, t).sample
        pipeline.scheduler.config.clip_sample = False
        theirs = pipeline.scheduler.step(out, t, given).pred_original_sample
        torch.testing.assert_close(theirs, model.denoise(x, sigma), atol=1e-5, rtol=1e-5)
    images = pipeline(batch_size=2, num_inference_steps=3, output_type="np").images
    assert images.shape == (2, 64, 64, 3)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_a_model_of_diffusers_denoises_here_as_it_does_there(kind, tmp_path):
    torch.manual_seed(0)
    unet = UNet2DModel(16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
                       down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D")).eval()  # fmt: skip
    scheduler = DDPMScheduler(200, prediction_type=kind, clip_sample=False)
    DDPMPipeline(unet, scheduler).save_pretrained(tmp_path)
    model = checkpoint.load(tmp_path, CPU)
    for t in (0, 37, 199):
        alpha_bar = float(scheduler.alphas_cumprod[t])
        given = alpha_bar**0.5 * X0 + (1 - alpha_bar) ** 0.5 * EPS
        theirs = scheduler.step(unet(given, t).sample, t, given).pred_original_sample.detach()
        here = model.denoise(given / alpha_bar**0.5, float(model.levels[t]))
        scale = max(1.0, float(theirs.abs().max()))
        torch.testing.assert_close(here / scale, theirs / scale, atol=1e-5, rtol=0)
    gains = no_gains(model.denoise.network, 2)  # as the experiment tunes a trained denoiser to an image
    assert len(gains) > 4
    torch.testing.assert_close(with_gains(model.denoise, gains)(X0, 0.5), model.denoise(X0, 0.5))
    gains[0][0] += torch.linspace(-1, 1, gains[0].shape[1])
    changed = (with_gains(model.denoise, gains)(X0, 0.5) - model.denoise(X0, 0.5)).abs().amax((1, 2, 3))
    assert changed[0] > 1e-3
    assert changed[1] < 1e-6


def test_deepinv_gets_a_denoiser_in_its_own_units_and_runs_its_methods(ours, tmp_path):
    import deepinv

    export(ours, "deepinv", tmp_path / "out")
    spec = importlib.util.spec_from_file_location("dualprior_denoiser", tmp_path / "out" / "dualprior_denoiser.py")
    module = sys.modules["dualprior_denoiser"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    denoiser, model = module.load(), checkpoint.load(ours, CPU)
    x = (X0 + 0.2 * EPS + 1) / 2
    torch.testing.assert_close(denoiser(x, 0.1), (model.denoise(2 * x - 1, 0.2) + 1) / 2, atol=1e-5, rtol=0)
    each = denoiser(x, torch.tensor([0.1, 0.3]))
    torch.testing.assert_close(each[1:], denoiser(x[1:], 0.3), atol=1e-5, rtol=0)
    physics = deepinv.physics.Inpainting(img_size=(3, 16, 16), mask=0.5, noise_model=deepinv.physics.GaussianNoise(0.05))
    fidelity = deepinv.optim.data_fidelity.L2()
    for method in (deepinv.sampling.DiffPIR(denoiser, fidelity, max_iter=5), deepinv.sampling.DDRM(denoiser)):
        assert torch.isfinite(method(physics(x), physics)).all()


def test_what_cannot_be_taken_or_given_is_told(ours, tmp_path):
    with pytest.raises(UserError, match="choose one of diffusers, deepinv"):
        export(ours, "onnx", tmp_path / "out")
    with pytest.raises(UserError, match="exists"):
        export(ours, "deepinv", ours)
    grey = UNet2DModel(16, 1, 1, block_out_channels=(32,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",))
    grey.save_pretrained(tmp_path / "grey")
    with pytest.raises(UserError, match="1 channels to 1; 3 to 3 are needed"):
        checkpoint.load(tmp_path / "grey", CPU)
    (tmp_path / "bad" / "unet").mkdir(parents=True)
    with pytest.raises(UserError, match="not a folder of a diffusers"):
        checkpoint.load(tmp_path / "bad", CPU)
