"""deepinv's physics as an operator of ours."""

import deepinv
import pytest
import tiny
import torch

from dualprior.common.errors import UserError
from dualprior.degradation.measurement import measure, observe
from dualprior.degradation.task import Task

CPU = torch.device("cpu")
ARGUMENTS = {"angles": 12, "img_width": 16, "normalize": True}
TASK = {"operator": "deepinv", "noise": 2, "physics": "Tomography", "size": (16, 16), "arguments": ARGUMENTS}


def test_tomography_is_measured_and_inverted_by_deepinv_itself():
    x, task = tiny.images(2, 16), Task(**TASK)
    measured = observe(measure(x, task, 0, "ct", ["a", "b"]), task, ["a", "b"], CPU)
    theirs = deepinv.physics.Tomography(**ARGUMENTS)
    torch.testing.assert_close(measured.op.A(x), theirs.A(x))
    assert measured.size == (16, 16)
    torch.testing.assert_close(measured.op.A_dagger(measured.y), theirs.A_dagger(measured.y), atol=0.02, rtol=0)  # both iterate
    near = measured.op.prox(torch.zeros_like(x), measured.y, 0.01)
    residual, before = (measured.op.A(z) - measured.y for z in (near, torch.zeros_like(x)))
    assert residual.square().mean() < 0.05 * before.square().mean()
    gradient = measured.op.A_adjoint(measured.op.A(near) - measured.y) + 0.01 * near  # zero at the argmin
    assert gradient.abs().max() < 2e-2 * measured.op.A_adjoint(measured.y).abs().max()


def test_wrong_names_and_sizes_are_told():
    draw = lambda **change: measure(tiny.images(1, 16), Task(**TASK | change), 0, "ct", ["a"])  # noqa: E731
    wrong = {"no linear physics": {"physics": "Nothing"}, "not that of the images": {"size": (32, 32)}, "refuses": {"arguments": {}}}
    for told, change in wrong.items():
        with pytest.raises(UserError, match=told):
            draw(**change)
