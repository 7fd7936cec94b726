"""Any linear physics of deepinv as a degradation: tomography, for one, with deepinv's own solvers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dualprior.common.errors import UserError
from dualprior.common.params import Count, Section
from dualprior.degradation.operator import Operator


@dataclass(frozen=True, eq=False)
class Physics(Operator):
    """physics: a deepinv.physics.LinearPhysics on images of three channels."""

    physics: Any

    class Settings(Section):
        physics: str  # a class of deepinv.physics
        arguments: dict[str, Any] = {}
        size: tuple[Count, Count]  # of the images, height and width in pixels

    @classmethod
    def build(cls, settings, size, random):
        try:
            from deepinv import physics
        except ImportError:
            raise UserError("operator deepinv needs the package deepinv; pip install deepinv") from None
        kind = getattr(physics, settings.physics, None)
        if not (isinstance(kind, type) and issubclass(kind, physics.LinearPhysics)):
            raise UserError(f"physics={settings.physics} is no linear physics of deepinv; name one, as Tomography, in params.yaml")
        if size != settings.size:
            raise UserError(f"size={list(settings.size)} is not that of the images, {list(size)}; mend it in params.yaml")
        try:
            with torch.random.fork_rng():
                torch.manual_seed(0)  # some estimate their norm from random images
                return cls(kind(**settings.arguments))
        except Exception as error:  # whatever a class makes of arguments that it does not like
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{settings.physics} refuses the arguments {settings.arguments} ({reason}); mend them in params.yaml") from None

    @classmethod
    def image_size(cls, settings, y_size):
        return settings.size

    def A(self, x):
        return self._beside(x).A(x)

    def A_adjoint(self, y):
        return self._beside(y).A_adjoint(y)

    def A_dagger(self, y):
        return self._beside(y).A_dagger(y)

    def prox(self, x0, y, rho):
        each = torch.as_tensor(rho, dtype=x0.dtype, device=x0.device).flatten().expand(len(x0)).tolist()
        return torch.cat([self._prox(x0[i : i + 1], y[i : i + 1], own) for i, own in enumerate(each)])

    def _prox(self, x0, y, rho: float):
        return self._beside(x0).prox_l2(x0, y, gamma=1 / rho) if rho > 0 else x0 + self.A_dagger(y - self.A(x0))

    def _beside(self, x):
        return self.physics.to(x.device)

    def noise_gain(self, y):
        """Of one draw of noise."""
        noise = torch.randn(y[:1].shape, generator=torch.Generator().manual_seed(0)).to(y)
        return float(self.A_dagger(noise).square().mean())
