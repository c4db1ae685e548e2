"""Types of the compiled door; `cbp.reference.Propagator` has the same methods."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix

Reals: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
Targets: TypeAlias = Reals | NDArray[np.int32]
Rows: TypeAlias = Reals | csr_array | csr_matrix

class _Solver(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def moments(self) -> tuple[str, ...]: ...
    @property
    def hyperparameters(self) -> tuple[float, ...]: ...

class Propagator:
    def __init__(
        self,
        layer_sizes: Sequence[int],
        activation: str,
        output_activation: str,
        loss: str,
        alpha: float,
        dtype: np.dtype,
    ) -> None: ...
    @property
    def isa(self) -> str: ...
    @property
    def layer_sizes(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    @property
    def in_training(self) -> bool: ...
    @property
    def in_epoch(self) -> bool: ...
    @property
    def n_params(self) -> int: ...
    @property
    def n_threads(self) -> int: ...
    def use_threads(self, n_threads: int, work_per_thread: float = ...) -> None: ...
    def forward(self, params: Reals, X: Rows, a_out: Reals) -> None: ...
    def inspect(
        self,
        params: Reals,
        X: Rows,
        y: Targets,
        sample_losses_out: Reals,
        z_out: Sequence[Reals],
        a_out: Sequence[Reals],
        delta_out: Sequence[Reals],
        input_grads_out: Reals | None,
    ) -> None: ...
    def use_summary(self) -> None: ...
    def summary(
        self,
    ) -> tuple[list[float], list[float], list[float], list[float]]: ...
    def loss_and_grad(
        self,
        params: Reals,
        X: Rows,
        y: Targets,
        sample_weight: Reals | None,
        grad_out: Reals,
    ) -> float: ...
    def use_solver(
        self,
        solver: _Solver,
        moments: Sequence[Reals],
        steps: int = ...,
        factors: NDArray[np.float64] | None = ...,
    ) -> None: ...
    def begin_training(
        self,
        params: Reals,
        X: Rows,
        y: Targets,
        sample_weight: Reals | None,
        batch_size: int,
    ) -> None: ...
    def begin_epoch(
        self, order: NDArray[np.intp], rates: NDArray[np.float64]
    ) -> None: ...
    def advance(self, seconds: float) -> bool: ...
    def end_epoch(self) -> tuple[float, int]: ...
    def end_training(self) -> None: ...

def available_instruction_sets() -> tuple[str, ...]: ...
def elementwise(activation: str, x: Reals, out: Reals) -> None: ...
