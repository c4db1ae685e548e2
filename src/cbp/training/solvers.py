"""State of the stochastic solvers: their moments and their learning rate."""

from dataclasses import dataclass

import numpy as np

#: The learning rate at which the adaptive schedule gives up, and by what it divides
#: before; both scikit-learn's.
SMALLEST_LEARNING_RATE = 1e-6
ADAPTIVE_DIVISOR = 5.0


@dataclass
class Adam:
    """State of Adam (Kingma and Ba 2015, the form of section 2 with epsilon-hat).

    Parameters
    ----------
    m, v : ndarray of shape (n_params,)
        Running means of the gradient and of its square.
    learning_rate_init : float, default=0.001
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of the two means.
    epsilon : float, default=1e-8
    steps : int, default=0
        Number of updates made, t of the bias correction.
    """

    m: np.ndarray
    v: np.ndarray
    learning_rate_init: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    steps: int = 0

    schedule = "constant"

    @classmethod
    def for_network(cls, network, **hyperparameters):
        """Adam before its first update of `network`."""
        zeros = np.zeros_like
        return cls(zeros(network.params_), zeros(network.params_), **hyperparameters)

    def resume(self, before):
        """Go on from the moments that `before` has reached."""
        self.m, self.v, self.steps = before.m.copy(), before.v.copy(), before.steps

    @property
    def learning_rate(self):
        """The current learning rate, before the correction of Adam's bias."""
        return self.learning_rate_init

    def attach(self, propagator):
        """Let `propagator` train with this state."""
        propagator.use_adam(
            self.m,
            self.v,
            self.steps,
            self.beta_1,
            self.beta_2,
            self.epsilon,
        )

    def count(self, steps):
        """Take note that `steps` updates were made in all."""
        self.steps = steps

    def epoch_ends(self, t):
        """After `t` samples: the learning rate stays."""

    def plateau(self):
        """The loss has stopped improving: whether training stops."""
        return True


@dataclass
class SGD:
    """State of stochastic gradient descent with momentum and a schedule.

    Parameters
    ----------
    velocity : ndarray of shape (n_params,)
    learning_rate_init : float, default=0.001
    schedule : {'constant', 'invscaling', 'adaptive'}, default='constant'
        'invscaling' divides the initial rate by (t + 1)^power_t after t samples;
        'adaptive' divides the rate by 5 whenever the loss stops improving.
    power_t : float, default=0.5
    momentum : float, default=0.9
    nesterov : bool, default=True
    learning_rate : float or None, default=None
        The current rate; None for `learning_rate_init`.
    """

    velocity: np.ndarray
    learning_rate_init: float = 0.001
    schedule: str = "constant"
    power_t: float = 0.5
    momentum: float = 0.9
    nesterov: bool = True
    learning_rate: float | None = None

    def __post_init__(self):
        if self.learning_rate is None:
            self.learning_rate = self.learning_rate_init

    @classmethod
    def for_network(cls, network, **hyperparameters):
        """SGD before its first update of `network`."""
        return cls(np.zeros_like(network.params_), **hyperparameters)

    def resume(self, before):
        """Go on from the velocity, and the rate, that `before` has reached."""
        self.velocity = before.velocity.copy()
        planned = (self.schedule, self.learning_rate_init)
        if planned == (before.schedule, before.learning_rate_init):
            self.learning_rate = before.learning_rate

    def attach(self, propagator):
        """Let `propagator` train with this state."""
        propagator.use_sgd(self.velocity, self.momentum, self.nesterov)

    def count(self, steps):
        """Nothing in this rule depends on how many updates were made."""

    def epoch_ends(self, t):
        """After `t` samples: the learning rate of the next epoch."""
        if self.schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / (t + 1) ** self.power_t

    def plateau(self):
        """The loss has stopped improving: whether training stops."""
        if self.schedule != "adaptive" or self.learning_rate <= SMALLEST_LEARNING_RATE:
            return True
        self.learning_rate /= ADAPTIVE_DIVISOR
        return False
