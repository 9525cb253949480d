"""Damped Newton's method, and the arithmetic that solves the heads of many members with it.

:func:`maximise` is the one Newton loop of the package: full steps, halved where the objective would fall,
until an :class:`Objective` is solved. :class:`personalization.population.pooled.Pooled` runs it for the mean
of the prior. This module runs it for the heads of many members at once, in two forms of the same problem.
:func:`newton_dual` takes the prior covariance of the scores and solves ``n x n`` systems.
:func:`newton_primal` takes coordinates of the examples and solves ``r x r`` systems.

The members are the last axis (``lanes``), so that every step is plain arithmetic on long rows. One Cholesky
factorisation of a thousand small systems costs a third of a thousand calls of LAPACK, and runs on a GPU
unchanged. Lanes do not affect each other: each member stops at its own convergence.

Called by :mod:`personalization.solving.member_chunk`, the posterior and the fit of the prior. Imports torch
alone. Axes: ``u`` members, ``n`` examples, ``r`` directions of taste, ``k`` the size of a system (n or r).

Source: Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, algorithm 3.1. We add a prior
mean, observation weights, labels anywhere in [0, 1], and step halving, with which Newton's method always
converges on a concave objective.
"""

# torch ships without types for these; and matrices are capital here, as in the source.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

MAX_STEPS = 200
MAX_TRIES = 30
"""Lengths tried for one step of a head: the full step, then a half, a quarter and so on."""

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5}
"""Largest residual of the optimality condition at which a member counts as solved."""


# --- the loop --------------------------------------------------------------------------------------------


class Objective(Protocol):
    """A concave objective for :func:`maximise`: one, or one in each lane of the last axis."""

    def value(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objective at ``v``, ``()`` or ``u``, and the scores there, of any shape."""
        ...

    def step(self, v: Tensor, scores: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return Newton's step from ``v``, and where the objective is not solved yet, ``()`` or ``u`` bool.

        Args:
            v: Unknowns, ``k`` or ``k x u``.
            scores: Scores that :meth:`value` returned for ``v``.

        Returns:
            A step of the shape of ``v``, or None if everything is solved, and the flags.
        """
        ...


def maximise(
    objective: Objective, start: Tensor, *, max_steps: int, max_tries: int
) -> tuple[Tensor, int, int]:
    """Take damped Newton steps until the objective is solved in every lane.

    A step is halved in the lanes where it would lower the objective by more than rounding explains.

    Args:
        objective: The objective to maximise.
        start: Unknowns to start from, ``k`` or ``k x u``.
        max_steps: Steps after which the loop gives up.
        max_tries: Lengths tried for each step; the last one is taken even if it lowers the objective.

    Returns:
        The unknowns, in the shape of ``start``; the number of steps; the number of lanes left unsolved.
    """
    v = start
    reached, scores = objective.value(v)
    n_steps = 0
    while True:
        dv, unsolved = objective.step(v, scores)
        if dv is None or n_steps == max_steps:
            return v, n_steps, int(unsolved.sum())
        n_steps += 1
        dv = dv * unsolved  # a solved lane stays where it is
        slack = 64 * torch.finfo(v.dtype).eps * (1 + reached.abs())
        t, tried, found = torch.ones_like(reached), v, reached
        for _ in range(max_tries):
            tried = v + t * dv
            found, scores = objective.value(tried)
            worse = found < reached - slack
            if not worse.any():
                break
            t = torch.where(worse, t / 2, t)
        v, reached = tried, found


# --- the heads of many members ---------------------------------------------------------------------------


def newton_dual(
    K: Tensor, m: Tensor, y: Tensor, w: Tensor, *, lanes: bool = False
) -> tuple[Tensor, int, int]:
    """Maximise every member's ``sum w log p(y | f) - (f - m)' K^-1 (f - m) / 2`` over ``f = m + K a``.

    At the optimum ``a = w (y - sigmoid(f))``; the difference of the two sides is the residual. Padding has
    weight 0 and ends with a = 0. Cost: O(n^3) a member and step.

    Args:
        K: Prior covariance of the scores, ``u x n x n``.
        m: Prior mean of the scores, ``u x n``.
        y: Label values in [0, 1], ``u x n``.
        w: Observation weights, ``u x n``, 0 for padding.
        lanes: Factor all systems together, which is faster from some 256 members on, up to n of about 64.
            False: LAPACK factors them one by one.

    Returns:
        ``a``, ``u x n``; the steps of the slowest member; the number of members left unsolved.
    """
    a, steps, unsolved = _solve_members((_DualLanes if lanes else _Dual)(K, m, y, w))
    return a.T.contiguous(), steps, unsolved


def newton_primal(
    C: Tensor,
    m: Tensor,
    y: Tensor,
    w: Tensor,
    *,
    precision: Tensor | None = None,
    start: Tensor | None = None,
    tolerance: float | None = None,
) -> tuple[Tensor, int, int]:
    """Maximise every member's ``sum w log p(y | m + C z) - z' P z / 2`` over ``z``; P is the identity.

    The same optimum as :func:`newton_dual` with ``K = C C'``, at a cost of O(n r^2 + r^3) a step.

    Args:
        C: Coordinates of the examples, ``u x n x r``; rows of padding are zero.
        m: Prior mean of the scores, ``u x n``.
        y: Label values in [0, 1], ``u x n``.
        w: Observation weights, ``u x n``, 0 for padding.
        precision: P, ``r x r``, if it is not the identity.
        start: Where to start, ``u x r``; a start near the solution saves steps. None: at 0.
        tolerance: Largest residual at which a member counts as solved. None: :data:`TOLERANCE`.

    Returns:
        ``z``, ``u x r``; the steps of the slowest member; the number of members left unsolved.
    """
    if precision is None:
        begin = None if start is None else start.T
        z, steps, unsolved = _solve_members(_Primal(C, m, y, w), begin, tolerance)
        return z.T, steps, unsolved
    root = torch.linalg.cholesky(precision)
    T = torch.linalg.inv(root)  # z = T' v makes the precision of v the identity
    begin = None if start is None else (start @ root).T
    v, steps, unsolved = _solve_members(_Primal(C @ T.T, m, y, w), begin, tolerance)
    return v.T @ T, steps, unsolved


class _Form(Protocol):
    """One form of the members' problem, a member in each lane; unknowns are ``k x u``, scores ``n x u``."""

    m: Tensor
    y: Tensor
    w: Tensor
    size: int
    rounding: Tensor

    def image(self, v: Tensor) -> Tensor:
        """Return what the unknowns add to the scores, ``n x u``."""
        ...

    def gradient(self, v: Tensor, residual: Tensor) -> Tensor:
        """Return the gradient of the objective, ``k x u``, from the labels' residuals ``n x u``."""
        ...

    def penalty(self, v: Tensor, image: Tensor) -> Tensor:
        """Return twice what the prior subtracts from the objective, ``u``."""
        ...

    def solve(self, gradient: Tensor, h: Tensor) -> Tensor:
        """Solve for Newton's step, ``k x u``, with the curvature of the labels ``h``, ``n x u``."""
        ...


class _Members:
    """The :class:`Objective` of many members: a member is solved when its residual is small enough."""

    def __init__(self, form: _Form, enough: float) -> None:
        self._form = form
        # No residual falls below the rounding of the scores. Wild features lift that above the tolerance.
        tiny = torch.finfo(form.m.dtype).eps
        self._tolerance = (8 * tiny * form.rounding).clamp(min=enough)  # (u,)

    def value(self, v: Tensor) -> tuple[Tensor, Tensor]:
        form, image = self._form, self._form.image(v)  # (n, u)
        f = form.m + image
        likelihood = (form.w * (form.y * f - softplus(f))).sum(dim=0)  # (u,)
        return likelihood - form.penalty(v, image) / 2, f

    def step(self, v: Tensor, scores: Tensor) -> tuple[Tensor | None, Tensor]:
        form, p = self._form, torch.sigmoid(scores)  # (n, u)
        gradient = form.gradient(v, form.w * (form.y - p))  # (k, u)
        unsolved = gradient.abs().amax(dim=0) > self._tolerance  # (u,)
        return (form.solve(gradient, form.w * p * (1 - p)) if unsolved.any() else None), unsolved


def _solve_members(
    form: _Form, start: Tensor | None = None, enough: float | None = None
) -> tuple[Tensor, int, int]:
    """Solve every lane: unknowns ``k x u``, steps of the slowest lane, lanes left unsolved."""
    m = form.m
    if start is None:
        start = m.new_zeros(form.size, m.shape[1])  # (k, u)
    objective = _Members(form, TOLERANCE[m.dtype] if enough is None else enough)
    return maximise(objective, start, max_steps=MAX_STEPS, max_tries=MAX_TRIES)


class _Dual:
    """Unknowns ``a``, scores ``m + K a``; LAPACK factors the systems one by one."""

    def __init__(self, K: Tensor, m: Tensor, y: Tensor, w: Tensor) -> None:
        self.K = K
        self.m, self.y, self.w = m.T.contiguous(), y.T.contiguous(), w.T.contiguous()  # (n, u)
        self.size = len(self.m)
        self.rounding = (K.abs() @ w[:, :, None]).amax(dim=(1, 2))  # (u,)

    def image(self, v: Tensor) -> Tensor:
        return (self.K @ v.T.contiguous()[:, :, None])[:, :, 0].T.contiguous()

    def gradient(self, v: Tensor, residual: Tensor) -> Tensor:
        return residual - v

    def penalty(self, v: Tensor, image: Tensor) -> Tensor:
        return (v * image).sum(dim=0)

    def solve(self, gradient: Tensor, h: Tensor) -> Tensor:
        """Solve ``(I + H K) da = r`` for the step and not for the next a: the error then shrinks with r."""
        root = h.sqrt()
        B = root.T[:, :, None] * self.K * root.T[:, None, :]  # (u, n, n)
        B.diagonal(dim1=1, dim2=2).add_(1)
        b = (root * self.image(gradient)).T[:, :, None]  # (u, n, 1)
        return gradient - root * torch.cholesky_solve(b, torch.linalg.cholesky(B))[:, :, 0].T


class _DualLanes(_Dual):
    """The same form for small n; all systems are factored together."""

    def __init__(self, K: Tensor, m: Tensor, y: Tensor, w: Tensor) -> None:
        self.K = K.permute(1, 2, 0).contiguous()  # (n, n, u)
        self.m, self.y, self.w = m.T.contiguous(), y.T.contiguous(), w.T.contiguous()  # (n, u)
        self.size = len(self.m)
        self.rounding = (self.K.abs() * self.w).sum(dim=1).amax(dim=0)  # (u,)
        self._system = self.K.new_empty(self.size + 1, self.size, len(K))  # (n + 1, n, u)

    def image(self, v: Tensor) -> Tensor:
        return (self.K * v).sum(dim=1)

    def solve(self, gradient: Tensor, h: Tensor) -> Tensor:
        """Solve the same systems in lanes."""
        n, root = self.size, h.sqrt()
        torch.mul(self.K, root[:, None], out=self._system[:n])
        self._system[:n].mul_(root)
        self._system[n] = root * self.image(gradient)
        return gradient - root * _solve(self._system)


class _Primal:
    """Unknowns ``z``, scores ``m + C z``."""

    def __init__(self, C: Tensor, m: Tensor, y: Tensor, w: Tensor) -> None:
        self.C, self._room = C, torch.empty(C.shape, dtype=C.dtype, device=C.device)  # (u, n, r)
        self.m, self.y, self.w = m.T.contiguous(), y.T.contiguous(), w.T.contiguous()  # (n, u)
        self.size = C.shape[2]
        self.rounding = (w[:, None, :] @ torch.abs(C, out=self._room)).amax(dim=(1, 2))  # (u,)
        k = -(-self.size // 4) * 4  # so that every system starts a cache line, in every lane
        self._system, self._rhs = C.new_zeros(len(C), k, k), C.new_zeros(len(C), k, 1)

    def image(self, v: Tensor) -> Tensor:
        # Three times as fast as a batched matrix-vector product, which calls BLAS for every member.
        return torch.mul(self.C, v.T[:, None, :], out=self._room).sum(dim=2).T.contiguous()

    def gradient(self, v: Tensor, residual: Tensor) -> Tensor:
        return torch.mul(self.C, residual.T[:, :, None], out=self._room).sum(dim=1).T - v

    def penalty(self, v: Tensor, image: Tensor) -> Tensor:
        return (v * v).sum(dim=0)

    def solve(self, gradient: Tensor, h: Tensor) -> Tensor:
        """Solve ``(I + C' H C) dz = g``."""
        r, B = self.size, self._system  # (u, k, k)
        B[:, :r, :r] = self.C.transpose(1, 2) @ torch.mul(self.C, h.T[:, :, None], out=self._room)
        B.diagonal(dim1=1, dim2=2)[:, :r] += 1
        B.diagonal(dim1=1, dim2=2)[:, r:] = 1
        self._rhs[:, :r, 0] = gradient.T
        return torch.cholesky_solve(self._rhs, torch.linalg.cholesky(B))[:, :r, 0].T


def _solve(system: Tensor) -> Tensor:
    """Solve ``(I + M) x = b`` in every lane; M is symmetric and positive semi-definite. Overwrites its input.

    Args:
        system: M in the first k rows, b in the last, ``(k + 1) x k x u``.

    Returns:
        ``x``, ``k x u``.
    """
    k = system.shape[1]
    system[:k].diagonal().add_(1)
    scale: list[Tensor] = []
    for j in range(k):  # Cholesky by columns; with b as one more row it is the forward substitution, too
        scale.append(system[j, j].clamp(min=1).rsqrt())  # a pivot of I + M is below 1 by rounding only
        column = system[j + 1 :, j].mul_(scale[j])  # (k - j, u)
        system[j + 1 :, j + 1 :].addcmul_(column[:, None], column[:-1], value=-1)
    x = system[k]
    for j in range(k - 1, -1, -1):
        x[j] *= scale[j]
        x[:j].addcmul_(system[j, :j], x[j], value=-1)
    return x
