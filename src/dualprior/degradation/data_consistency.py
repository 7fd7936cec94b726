"""Data consistency: functions data_consistency(x0_hat, sigma) -> x0_hat that pull the denoiser's guess towards the measurement.

sigma is shaped to broadcast over images: [1, 1, 1, 1] or [B, 1, 1, 1].
"""

from collections.abc import Callable

from torch import Tensor

from dualprior.degradation.operators import Operator

DataConsistency = Callable[[Tensor, Tensor], Tensor]


def project_on_exact_data(op: Operator, x: Tensor, y: Tensor, sigma_y: float) -> Tensor:
    """x + A†(y - A x) where the data are exact (sigma_y = 0), else x: what every noiseless restoration may claim."""
    return op.prox(x, y, 0.0) if sigma_y == 0 else x


def proximal(op: Operator, y: Tensor, sigma_y: float, weight: float = 1.0) -> DataConsistency:
    """argmin over x of ||A x - y||^2 / sigma_y^2 + weight ||x - x0||^2 / sigma^2, in closed form.

    DiffPIR (Zhu et al. 2023, Algorithm 1, with lambda = weight), rho = weight sigma_y^2 / sigma^2. At sigma_y = 0 it
    is DDNM's projection x0 + A†(y - A x0) (Wang et al. 2023, Eq. 13), whatever the weight; with noise the projection
    softens as sigma falls, as DDNM+ asks.
    y: [B, C, h, w]; sigma_y: >= 0 in [-1, 1] units; weight: > 0, larger trusts the denoiser more.
    """

    def data_consistency(x0: Tensor, sigma: Tensor) -> Tensor:
        return op.prox(x0, y, weight * (sigma_y / sigma) ** 2)

    return data_consistency
