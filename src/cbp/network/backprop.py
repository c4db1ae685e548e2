"""What backpropagation computed, to be looked at: every quantity of every sample.

`Network.backprop` fills a `Backprop` from its kernels. What follows from these arrays
by a line of NumPy (derivatives one by one, gradients of single samples, who pulls
hardest) are methods of it; `chain_rule.py` takes one weight's derivative apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from scipy.sparse import issparse


@dataclass(frozen=True, repr=False, eq=False)
class Backprop:
    """Everything that the forward and the backward pass compute.

    Lists over layers have L + 1 entries, indexed by the layer l = 0..L itself. Nodes
    and samples are counted from 0, as the arrays are indexed.

    Attributes
    ----------
    loss : float
        C, the weighted mean of the sample losses plus the penalty.
    sample_losses : ndarray of shape (n,)
        C_0 of each sample, without weight or penalty.
    z : list of ndarray of shape (n, n_l)
        Weighted inputs; ``z[0]`` is None.
    a : list of ndarray of shape (n, n_l)
        Activations; ``a[0]`` is X, in CSR form if it is sparse, and no copy of it.
    delta : list of ndarray of shape (n, n_l)
        Error signals dC_0/dz^l per sample, unweighted and not divided by n;
        ``delta[0]`` is None.
    coef_grads : list of L ndarrays of shape (n_{l-1}, n_l)
        Gradient of `loss` in the coefs of layer l, at index l - 1.
    intercept_grads : list of L ndarrays of shape (n_l,)
        Gradient of `loss` in the intercepts of layer l, at index l - 1.
    input_grads : ndarray of shape (n, n_0)
        dC_0/dx of each sample. Of a sparse X it is computed, dense, when asked for.
    y : ndarray of shape (n, n_L)
        The targets, as the network sees them.
    sample_weight : ndarray of shape (n,) or None
        The weights of the samples; None if all are 1.
    network : Network
        The network as it was: a copy.

    Examples
    --------
    >>> import numpy as np
    >>> from cbp import Network
    >>> net = Network((2, 1), params=[1.0, 2.0, 0.5])
    >>> result = net.backprop([[1.0, 1.0], [2.0, 0.0]], [3.0, 4.0])
    >>> result.delta[1]
    array([[ 0.5],
           [-1.5]])
    >>> result.chain_rule(1, k=0, j=0, sample=1)
    w^1_jk = coefs_[0][0, 0] = 1, node k=0 of layer 0 to node j=0 of layer 1; sample 1
    dC_0/dw^1_jk = dC_0/da^1_j · da^1_j/dz^1_j · dz^1_j/dw^1_jk
                 = -1.5 · 1 · 2
                 = -3
    """

    loss: float
    sample_losses: np.ndarray
    z: list
    a: list
    delta: list
    coef_grads: list
    intercept_grads: list
    _input_grads: np.ndarray | None
    y: np.ndarray
    sample_weight: np.ndarray | None
    network: object

    def __repr__(self):
        lines = [f"Backprop(loss={self.loss:.6g}, n={len(self.sample_losses)})"]
        for layer in range(1, len(self.delta)):
            size = np.abs(self.delta[layer]).mean()
            gradient = np.abs(self.coef_grads[layer - 1]).mean()
            lines.append(
                f"  layer {layer}: {self.delta[layer].shape[1]} nodes, "
                f"mean |delta| {size:.3g}, mean |dC/dw| {gradient:.3g}"
            )
        return "\n".join(lines)

    @property
    def input_grads(self):
        """dC_0/dx of each sample."""
        if self._input_grads is None:
            return self.delta[1] @ self.network.coefs_[0].T
        return self._input_grads

    # -- one derivative at a time ------------------------------------------------

    def activation_slopes(self, layer):
        """da^l_j/dz^l_j, the slope of the activation function at each node.

        Parameters
        ----------
        layer : int
            l, from 1 to L.

        Returns
        -------
        slopes : ndarray of shape (n, n_l), float64
            g'(z^l). Of softmax, whose nodes are coupled, the diagonal of its Jacobian.

        Raises
        ------
        IndexError, TypeError
            If there is no such layer, or it is not an integer.
        """
        check_index("layer", layer, 1, self._L)
        return self.network.g[layer].slopes(self.z[layer])

    def activation_grads(self, layer):
        """dC_0/da^l_j: how the loss of each sample changes with each activation.

        Parameters
        ----------
        layer : int
            l, from 0 (the input) to L.

        Returns
        -------
        grads : ndarray of shape (n, n_l)
            At l < L it is sum_m w^{l+1}_mj delta^{l+1}_m over the nodes m of layer
            l + 1; at L, where it follows from the loss, in float64.

        Raises
        ------
        IndexError, TypeError
            If there is no such layer, or it is not an integer.
        """
        check_index("layer", layer, 0, self._L)
        if layer == 0:
            return self.input_grads
        if layer < self._L:
            return self.delta[layer + 1] @ self.network.coefs_[layer].T
        net = self.network
        return net.C_0.slopes(net.g[-1], self.z[layer], self.a[layer], self.y)

    def chain_rule(self, layer, k, j, sample=None):
        """The derivative in one weight, ``coefs_[layer - 1][k, j]``, term by term.

        Parameters
        ----------
        layer : int
            l, from 1 to L.
        k : int
            The node of layer l - 1 from which the weight leads.
        j : int
            The node of layer l to which it leads.
        sample : int, default=None
            Which row of X; None for all of them, and their mean.

        Returns
        -------
        rule : ChainRule
            dC_0/da^l_j, da^l_j/dz^l_j, dz^l_j/dw^l_jk and their product. Shows itself
            as the formula with its numbers, also in notebooks and in LaTeX.

        Raises
        ------
        IndexError, TypeError
            If there is no such layer, node or sample, naming those there are, or one
            is not an integer.
        """
        layer = check_index("layer", layer, 1, self._L)
        sizes = self.network.layer_sizes
        k = check_index("k", k, 0, sizes[layer - 1] - 1, f"nodes of layer {layer - 1}")
        j = check_index("j", j, 0, sizes[layer] - 1, f"nodes of layer {layer}")
        rows = slice(None)
        if sample is not None:
            sample = check_index("sample", sample, 0, len(self.sample_losses) - 1)
            rows = slice(sample, sample + 1)
        if layer == self._L:
            return self._rule_of_output(k, j, sample, rows)
        return self._rule_of_hidden(layer, k, j, sample, rows)

    def _rule_of_hidden(self, layer, k, j, sample, rows):
        weights_above = self.network.coefs_[layer][j].astype(np.float64)
        delta_above = self.delta[layer + 1][rows].astype(np.float64)
        slopes = self.network.g[layer].slopes(self.z[layer][rows, j])
        upper = delta_above @ weights_above, slopes
        above = {"weights_above": weights_above, "delta_above": delta_above}
        return self._rule(layer, k, j, sample, rows, upper, **above)

    def _rule_of_output(self, k, j, sample, rows):
        z, slopes = self.z[-1][rows], self.activation_grads(self._L)[rows]
        g = self.network.g[-1]
        if g.couples:
            upper = slopes, g.jacobian_row(z, j)
        else:
            upper = slopes[:, j], g.slopes(z[:, j])
        return self._rule(self._L, k, j, sample, rows, upper, is_coupled=g.couples)

    def _rule(
        self,
        layer,
        k,
        j,
        sample,
        rows,
        upper,
        *,
        weights_above=None,
        delta_above=None,
        is_coupled=False,
    ):
        """`upper` are the first two factors, dC_0/da^l_j and da^l_j/dz^l_j."""
        # Formulas are for people who look: `import cbp` does without.
        from cbp.formulas.chain_rule import ChainRule, Terms

        w = float(self.network.coefs_[layer - 1][k, j])
        delta = self.delta[layer][rows, j].astype(np.float64)
        dz_dw = self._activation_of(layer - 1, k)[rows]
        is_one = sample is not None
        return ChainRule(
            layer=layer,
            k=k,
            j=j,
            sample=sample,
            weight=w,
            terms=Terms(*upper, dz_dw, dz_dw * delta),
            delta=delta,
            weights_above=weights_above,
            delta_above=delta_above,
            sample_weight=None if is_one else self.sample_weight,
            penalty=0.0 if is_one else self.shrinkage * w,
            is_coupled=is_coupled,
        )

    def _activation_of(self, layer, k):
        """a^l_k of every sample, in float64."""
        a = self.a[layer]
        column = a[:, [k]].toarray()[:, 0] if issparse(a) else a[:, k]
        return column.astype(np.float64)

    # -- the mean over the samples -------------------------------------------------

    @property
    def shares(self):
        """v_i / S: the share of each sample in the mean, (n,), in float64."""
        n = len(self.sample_losses)
        if self.sample_weight is None:
            return np.full(n, 1 / n)
        weight = self.sample_weight.astype(np.float64)
        return weight / weight.sum()

    @property
    def shrinkage(self):
        """alpha / S: the gradient of the penalty is this times the weight."""
        if self.sample_weight is None:
            return self.network.alpha / len(self.sample_losses)
        return self.network.alpha / self.sample_weight.sum(dtype=np.float64)

    def mean_grads(self, layer):
        """Gradients of the weighted mean of C_0, without the penalty.

        Parameters
        ----------
        layer : int
            l, from 1 to L.

        Returns
        -------
        dW : ndarray of shape (n_{l-1}, n_l), float64
        db : ndarray of shape (n_l,), float64

        Raises
        ------
        IndexError, TypeError
            If there is no such layer, or it is not an integer.
        """
        check_index("layer", layer, 1, self._L)
        delta = self.shares[:, np.newaxis] * self.delta[layer]
        return self.a[layer - 1].T @ delta, delta.sum(axis=0)

    # -- what each sample wants ----------------------------------------------------

    def wanted_changes(self):
        """How each sample wants each output to change: -dC_0/da^L.

        Its sign is the direction in which the activation of the output node has to go
        for C_0 to fall, its size by how much C_0 falls per unit. With log_loss on
        softmax outputs the other classes have no part in C_0 and get 0 here, though
        their outputs fall as the own class rises: -delta^L, the change wanted of z^L,
        shows that.

        Returns
        -------
        changes : ndarray of shape (n, n_L), float64
        """
        return -self.activation_grads(self._L)

    def sample_coef_grads(self, layer):
        """dC_0/dw^l of each sample (BP4), which `coef_grads` has averaged.

        Takes n times the memory of the coefs; `sample_grad_norms` does without.

        Parameters
        ----------
        layer : int
            l, from 1 to L.

        Returns
        -------
        grads : ndarray of shape (n, n_{l-1}, n_l)
            Without weight of the sample or penalty. (dC_0/db^l is ``delta[l]``: BP3.)

        Raises
        ------
        IndexError, TypeError
            If there is no such layer, or it is not an integer.
        """
        check_index("layer", layer, 1, self._L)
        a = self.a[layer - 1]
        a = a.toarray() if issparse(a) else a
        return a[:, :, np.newaxis] * self.delta[layer][:, np.newaxis, :]

    def sample_grad_norms(self, layer=None):
        """The Euclidean norm of each sample's gradient, without making the gradients.

        dC_0/dw^l = a^{l-1} delta^l is an outer product of two vectors; its norm is the
        product of theirs (Goodfellow, arXiv:1510.01799).

        Parameters
        ----------
        layer : int, default=None
            l, from 1 to L: the norm of dC_0/dw^l. None: of the gradient in all
            parameters, intercepts included.

        Returns
        -------
        norms : ndarray of shape (n,), float64

        Raises
        ------
        IndexError, TypeError
            If there is no such layer, or it is not an integer.
        """
        if layer is not None:
            check_index("layer", layer, 1, self._L)
            return np.sqrt(
                _row_squares(self.a[layer - 1]) * _row_squares(self.delta[layer])
            )
        # The intercept is the weight from a node whose activation is 1.
        pairs = zip(self.a[:-1], self.delta[1:], strict=True)
        return np.sqrt(sum((_row_squares(a) + 1) * _row_squares(d) for a, d in pairs))

    def gradient_noise_scale(self):
        """The batch size at which the gradient's noise is as large as the gradient.

        tr(Sigma) / ||G||^2 with G the mean and Sigma the covariance of the gradients of
        single samples, without penalty. Both are estimated without bias, if the weights
        do not depend on the samples; their ratio is not. Batches far below it mostly
        follow noise; far above it a larger batch hardly improves a step (McCandlish et
        al. 2018, arXiv:1812.06162, section 2.2 and appendix A.1).

        Returns
        -------
        scale : float
            In samples. inf if the mean cannot be told from noise, nan if all gradients
            are zero.

        Raises
        ------
        ValueError
            Unless at least two samples have weight.
        """
        p = self.shares
        repeats = p @ p  # 1/n without weights
        if 1 - repeats < 1e-9:
            raise ValueError(
                f"gradient_noise_scale needs two samples that count, got {len(p)} of "
                "which one has all the weight; call backprop with more rows."
            )
        mean_square = p @ self.sample_grad_norms() ** 2
        square_of_mean = sum(
            np.vdot(grad, grad)
            for layer in range(1, self._L + 1)
            for grad in self.mean_grads(layer)
        )
        if mean_square == 0:
            return float("nan")
        noise = max(0.0, (mean_square - square_of_mean) / (1 - repeats))
        signal = square_of_mean - repeats * noise
        return float(noise / signal) if signal > 0 else float("inf")

    def most_influential(self, n_samples=10):
        """The samples that pull hardest at the parameters, the first pulls most.

        By the norm of their gradient times their weight. Late in training these are the
        samples that the others contradict: rare cases and wrong labels.

        Parameters
        ----------
        n_samples : int, default=10
            How many, at most.

        Returns
        -------
        samples : ndarray of shape (min(n_samples, n),)
            Row numbers.

        Raises
        ------
        TypeError, ValueError
            If `n_samples` is not an integer, or below 1.
        """
        check_integer("n_samples", n_samples)
        if n_samples < 1:
            raise ValueError(f"n_samples={n_samples} must be at least 1.")
        pull = self.shares * self.sample_grad_norms()
        return np.argsort(-pull, kind="stable")[:n_samples]

    # -- what the above have in common -----------------------------------------------

    @property
    def _L(self):
        return len(self.delta) - 1


def check_index(name, index, first, last, of=None):
    """The index as a Python int; refused outside first..last.

    Raises
    ------
    IndexError
        Naming what there is.
    TypeError
        If it is not an integer.
    """
    check_integer(name, index)
    if not first <= index <= last:
        what = of or {"layer": "layers", "sample": "samples"}[name]
        raise IndexError(
            f"{name}={index} does not exist; {what} go from {first} to {last}."
        )
    return int(index)  # a NumPy integer may be too small for what is made of it


def check_integer(name, value):
    """Refuse what is no integer, with a TypeError; truth values are none."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name}={value!r} must be an integer.")


def _row_squares(matrix):
    """The sum of squares of each row, in float64."""
    if issparse(matrix):
        return np.asarray(matrix.astype(np.float64).power(2).sum(axis=1)).ravel()
    rows = matrix.astype(np.float64, copy=False)
    return np.einsum("ij,ij->i", rows, rows)
