"""Which residual a DIP fit makes small: the measurement's own, or the one carried back into the image."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from dualprior.operators import GaussianBlur, Operator

DataTerm = Literal["least_squares", "back_projection"]


@dataclass(frozen=True)
class BackProjected:
    """A†A, for the residual ||A†(A x - y)||^2 (Tirer & Giryes 2020, Eq. 7), whose gradient a blur does not flatten."""

    op: Operator

    def A(self, x: Tensor) -> Tensor:
        return self.op.A_dagger(self.op.A(x))


def data_term(op: Operator, y: Tensor, kind: DataTerm) -> tuple[Operator | BackProjected, Tensor]:
    """The operator and the measurement [n, C, h, w] that a fit is to be given.

    Only a blur is changed: for the other operators every singular value that is not 0 is the same, so both residuals
    agree up to a factor that the mean over values takes out.
    """
    if kind == "least_squares" or not isinstance(op, GaussianBlur):
        return op, y
    return BackProjected(op), op.A_dagger(y)
