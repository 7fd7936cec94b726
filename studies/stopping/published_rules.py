"""Stopping rules of the literature, and a score by the diffusion model.

Each is fed a fit step by step like the rules of `stopping` and sees no clean image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dualprior.common.errors import UserError
from dualprior.dip.early_stopping import Iterate, StopState
from dualprior.dip.networks.batched_layers import BatchedConv, ConvNormAct, one_by_one, side_by_side
from dualprior.dip.risk import mean_square

# --- rules that know the noise level --------------------------------------------------------------------------


@dataclass
class Discrepancy:
    """Morozov's discrepancy principle: the first step at which the residual has fallen to factor * sigma_y^2.

    An image whose residual never falls so far keeps its last step. Raises UserError for sigma_y not above 0: without
    noise the principle never stops a fit.
    """

    sigma_y: float
    factor: float = 1.0
    stop: StopState = field(default_factory=StopState)

    def __post_init__(self) -> None:
        _check_noise(self.sigma_y, "the discrepancy principle")

    def update(self, iterate: Iterate) -> None:
        self.stop.follow(iterate.step, iterate.average)
        self.stop.settle(iterate.residual <= self.factor * self.sigma_y**2, iterate.step, iterate.average)


@dataclass
class MonteCarloSURE:
    """Stein's unbiased risk estimate with its divergence by a random probe (Ramani et al. 2008, Eq. 14).

    mse = |f(y) - y|^2 / d - sigma_y^2 + 2 sigma_y^2 div / d,  div = b' (f(y + h b) - f(y)) / h, b ~ N(0, I).
    The paired fit "probe" is the same fit (same weights, input and jitter) to y + h b. Denoising of Gaussian noise only.
    """

    sigma_y: float
    y: Tensor  # [n, C, H, W]
    probe: Tensor  # b, [n, C, H, W]
    width: float  # h, in [-1, 1] units
    patience: int | None = None
    stop: StopState = field(init=False)
    last: Tensor | None = None  # [n], the latest estimate

    def __post_init__(self) -> None:
        _check_noise(self.sigma_y, "SURE")
        self.stop = StopState(self.patience)

    def update(self, iterate: Iterate) -> None:
        self.last = self.estimate(iterate)
        self.stop.offer(iterate.step, self.last, iterate.average)

    def estimate(self, iterate: Iterate) -> Tensor:
        """Mean squared error of every image's average: [n], may be negative."""
        divergence = (self.probe * (iterate.paired["probe"] - iterate.average)).mean((1, 2, 3)) / self.width
        residual = (iterate.average - self.y).square().mean((1, 2, 3))
        return residual + self.sigma_y**2 * (2 * divergence - 1)


def _check_noise(sigma_y: float, rule: str) -> None:
    if not sigma_y > 0:
        raise UserError(f"{rule} needs the noise level, above 0, and was given sigma_y={sigma_y:g}; choose another rule")


# --- rules that look at how much the output moves -------------------------------------------------------------


@dataclass
class WindowedVariance:
    """ES-WMV (Wang et al. 2023, Algorithm 1): the least variance of the last `window` outputs, with patience.

    Variance of a window: the mean over its outputs of the mean squared distance to their mean. The step is the last of
    the window. window and patience are in steps; the rule may be fed every `every`-th step only, and the window then
    holds window / every outputs. Nothing is offered before the first full window: a fit with fewer steps has no
    decision (`pick.step` 0), which `check_steps` refuses beforehand.
    """

    window: int = 100
    patience: int = 1000
    every: int = 1
    stop: StopState = field(init=False)

    def __post_init__(self) -> None:
        self.stop, self._recent, self._sum, self._squares = StopState(self.patience), deque(), None, None
        self._length = self.window // self.every
        if self._length < 2:
            raise UserError(f"a window of {self.window} steps fed every {self.every} steps holds no variance; widen it")

    def check_steps(self, steps: int) -> None:
        """Raises UserError when a fit of so many steps never fills the window."""
        if steps < self.window:
            raise UserError(f"a fit of {steps} steps never fills the window of {self.window}; raise dip.steps or lower the window")

    def update(self, iterate: Iterate) -> None:
        out = iterate.output.double()  # sums of many squares are subtracted below
        power = out.square().mean((1, 2, 3))
        if self._sum is None:
            self._sum, self._squares = torch.zeros_like(out), torch.zeros_like(power)
        self._recent.append((iterate.output, power))
        self._sum += out
        self._squares += power
        if len(self._recent) > self._length:
            old, old_power = self._recent.popleft()
            self._sum -= old.double()
            self._squares -= old_power
        if len(self._recent) == self._length:
            mean_power = (self._sum / self._length).square().mean((1, 2, 3))
            variance = self._squares / self._length - mean_power  # mean |x - m|^2 = mean |x|^2 - |m|^2
            self.stop.offer(iterate.step, variance.clamp(min=0).to(iterate.residual), iterate.average)


@dataclass
class ExponentialVariance:
    """ES-EMV (Wang et al. 2023, Algorithm 2): an exponential moving variance in place of the window.

    m_k = (1 - a) m_{k-1} + a x_k;  v_k = (1 - a) (v_{k-1} + a |x_k - m_{k-1}|^2), a = `rate` a step. Fed every
    `every`-th step only, a becomes 1 - (1 - rate)^every. Steps before `burn_in` are not offered: v starts at 0 and has
    to fill first (as the window does, 1 / rate steps).
    """

    rate: float = 0.1
    patience: int = 1000
    burn_in: int | None = None
    every: int = 1
    stop: StopState = field(init=False)

    def __post_init__(self) -> None:
        self.stop, self._mean, self._variance = StopState(self.patience), None, None
        self._first = round(1 / self.rate) if self.burn_in is None else self.burn_in
        self._rate = 1 - (1 - self.rate) ** self.every

    def update(self, iterate: Iterate) -> None:
        if self._mean is None:
            self._mean, self._variance = iterate.output.clone(), torch.zeros_like(iterate.residual)
            return
        far = (iterate.output - self._mean).square().mean((1, 2, 3))
        self._variance = (1 - self._rate) * (self._variance + self._rate * far)
        self._mean = torch.lerp(self._mean, iterate.output, self._rate)
        if iterate.step >= self._first:
            self.stop.offer(iterate.step, self._variance, iterate.average)


class _Autoencoder(nn.Module):
    """One small convolutional autoencoder an image, side by side: two halvings to `code` channels and back."""

    def __init__(self, channels: int, code: int, rngs: Sequence[torch.Generator]):
        super().__init__()
        self.count = len(rngs)
        self.down = nn.Sequential(ConvNormAct(channels, 16, 3, rngs, stride=2), ConvNormAct(16, code, 3, rngs, stride=2))
        self.up = ConvNormAct(code, 16, 3, rngs)
        self.head = BatchedConv(16, channels, 3, rngs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.down(side_by_side(x))
        h = self.up(interpolate(h, scale_factor=2, mode="nearest"))
        return one_by_one(self.head(interpolate(h, scale_factor=2, mode="nearest")), self.count)


class SelfValidation:
    """Self-validation (Li et al. 2021): an autoencoder is trained on the iterates as they come, and the step at which it
    reconstructs them best is taken, as noise that the fit picks up is what it cannot encode.

    At every update the newest output is scored by the autoencoder, then a training step is made on it and on one of the
    last `window`, each in turn; the scores are averaged over about `smooth` updates. H and W multiples of 4, not both 4; other
    images raise UserError.
    The authors' autoencoder is larger; this one is sized to the project's crops.
    """

    def __init__(self, rngs: Sequence[torch.Generator], window: int = 20, patience: int | None = None, smooth: int = 5, lr: float = 0.01):
        self.stop, self._rngs, self._lr = StopState(patience), list(rngs), lr
        self._keep = 1 - 1 / smooth
        self._recent: deque[Tensor] = deque(maxlen=window)
        self._net = self._optimizer = self._score = None
        self._fed = 0

    def update(self, iterate: Iterate) -> None:
        if self._net is None:
            height, width = iterate.output.shape[-2:]
            if height % 4 or width % 4 or height * width <= 16:
                raise UserError(f"self-validation needs sides that are multiples of 4, not both 4; these are {height} x {width}")
            self._net = _Autoencoder(iterate.output.shape[1], 4, self._rngs).to(iterate.output)
            self._optimizer = torch.optim.Adam(self._net.parameters(), self._lr)
        self._recent.append(iterate.output)
        with torch.enable_grad():
            losses = self._losses(iterate.output)
            losses.sum().backward()
            self._losses(self._recent[self._fed % len(self._recent)]).sum().backward()
        self._fed += 1
        self._optimizer.step()
        self._optimizer.zero_grad()
        fresh = losses.detach()
        self._score = fresh if self._score is None else torch.lerp(fresh, self._score, self._keep)
        self.stop.offer(iterate.step, self._score, iterate.average)

    def _losses(self, image: Tensor) -> Tensor:
        return (self._net(image) - image).square().mean((1, 2, 3))


# --- a score by the diffusion model ---------------------------------------------------------------------------


class DiffusionScore:
    """J(f) = mean over levels s of |eps_hat(f + s eps, s) - eps|^2: how well the diffusion model can tell fresh noise
    from the image. Any operator, noise level unknown; not an error, only a score whose minimum is looked for.

    denoise(x, sigma) -> x0; levels: about the noise to be told apart; eps: [levels, n, C, H, W], the same at every call.
    eps_hat = (x - D(x; s)) / s, so each term is |f - D(f + s eps; s)|^2 / s^2.
    """

    def __init__(self, denoise: Callable[[Tensor, float], Tensor], levels: Sequence[float], eps: Tensor):
        if not (levels and all(level > 0 for level in levels)):  # nor with NaN
            raise UserError(f"the diffusion score needs noise levels above 0 and was given {list(levels)}")
        self._denoise, self._levels, self._eps = denoise, list(levels), eps

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        scores = [
            mean_square(image - self._denoise(image + level * eps, level)) / level**2
            for level, eps in zip(self._levels, self._eps, strict=True)
        ]
        return torch.stack(scores).mean(0)
