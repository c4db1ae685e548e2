"""The libraries compared: each takes a net with its data and gives fit(epochs).

All get the same data, batches and hyperparameters. What is not installed is left out;
scikit-learn is always there. PyTorch runs eagerly, as its tutorials have it, with its
fused Adam; JAX has the whole epoch under `jit`, with `lax.scan` over the batches.
"""

import importlib
from functools import partial
from itertools import pairwise

import numpy as np
from sklearn import neural_network

import cbp

#: All that cbp is compared with.
PEERS = ("scikit-learn", "PyTorch", "JAX")

#: Adam's hyperparameters, equal everywhere; the penalty is off because PyTorch and JAX
#: would need more operations for it.
ADAM = {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}


def with_estimators(module, net, X, y, **parameters):
    """scikit-learn's classes, or those of cbp, which have the same parameters."""
    name = "MLPRegressor" if net.regression else "MLPClassifier"
    estimator = getattr(module, name)(
        hidden_layer_sizes=net.sizes[1:-1],
        activation=net.activation,
        batch_size=net.batch,
        alpha=0.0,
        learning_rate_init=ADAM["learning_rate"],
        beta_1=ADAM["beta_1"],
        beta_2=ADAM["beta_2"],
        epsilon=ADAM["epsilon"],
        tol=0.0,
        n_iter_no_change=10**9,
        random_state=0,
        **parameters,
    )

    def fit(epochs):
        return estimator.set_params(max_iter=epochs).fit(X, y)

    return fit


def with_cbp(net, X, y, n_jobs=1, **parameters):
    return with_estimators(cbp, net, X, y, n_jobs=n_jobs, **parameters)


def with_sklearn(net, X, y):
    return with_estimators(neural_network, net, X, y)


def with_torch(net, X, y):
    import torch

    X, y = torch.from_numpy(X), torch.from_numpy(y)
    activation = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[net.activation]
    loss = torch.nn.MSELoss() if net.regression else torch.nn.CrossEntropyLoss()
    is_single = y.ndim == 1 and net.regression

    def fit(epochs):
        torch.manual_seed(0)
        layers = [
            layer
            for n_in, n_out in pairwise(net.sizes)
            for layer in (torch.nn.Linear(n_in, n_out, dtype=X.dtype), activation())
        ]
        model = torch.nn.Sequential(*layers[:-1])
        adam = torch.optim.Adam(
            model.parameters(),
            lr=ADAM["learning_rate"],
            betas=(ADAM["beta_1"], ADAM["beta_2"]),
            eps=ADAM["epsilon"],
            fused=True,
        )
        for _ in range(epochs):
            for rows in torch.randperm(len(X)).split(net.batch):
                output = model(X[rows])
                adam.zero_grad()
                loss(output[:, 0] if is_single else output, y[rows]).backward()
                adam.step()

    return fit


def with_jax(net, X, y):
    """For nets whose batches divide the rows: what scan goes over has one shape."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", X.dtype == np.float64)
    X, y = jnp.asarray(X), jnp.asarray(y)
    activation = {"relu": jax.nn.relu, "tanh": jnp.tanh}[net.activation]

    def loss(params, x, target):
        for W, b in params[:-1]:
            x = activation(x @ W + b)
        z = x @ params[-1][0] + params[-1][1]
        if net.regression:
            return 0.5 * jnp.mean((z - target.reshape(z.shape)) ** 2)
        log_a = jax.nn.log_softmax(z)
        return -jnp.mean(jnp.take_along_axis(log_a, target[:, None], axis=1))

    def step(state, rows):
        params, m, v, t = state
        value, grads = jax.value_and_grad(loss)(params, X[rows], y[rows])
        t += 1
        beta_1, beta_2 = ADAM["beta_1"], ADAM["beta_2"]
        rate = ADAM["learning_rate"] * jnp.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        rate = rate.astype(X.dtype)
        m = jax.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, m, grads)
        v = jax.tree.map(lambda v, g: beta_2 * v + (1 - beta_2) * g * g, v, grads)
        params = jax.tree.map(
            lambda w, m, v: w - rate * m / (jnp.sqrt(v) + ADAM["epsilon"]), params, m, v
        )
        return (params, m, v, t), value

    @partial(jax.jit, donate_argnums=0)  # the new state may take the place of the old
    def epoch(state, key):
        rows = jax.random.permutation(key, len(X)).reshape(net.steps, net.batch)
        return jax.lax.scan(step, state, rows)

    def fit(epochs):
        rng = np.random.default_rng(0)
        params = [
            (
                jnp.asarray(rng.standard_normal(shape) / shape[0] ** 0.5, X.dtype),
                jnp.zeros(shape[1], X.dtype),
            )
            for shape in pairwise(net.sizes)
        ]
        m, v = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        state = params, m, v, jnp.zeros((), jnp.int32)
        for key in jax.random.split(jax.random.key(0), epochs):
            state, _ = epoch(state, key)
        jax.block_until_ready(state)

    return fit


def installed():
    """Name -> how to fit with it, of those that are installed, cbp first."""
    libraries = {"cbp": with_cbp, "scikit-learn": with_sklearn}
    for name, module, fitter in [
        ("PyTorch", "torch", with_torch),
        ("JAX", "jax", with_jax),
    ]:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            continue
        libraries[name] = fitter
    return libraries
