"""`Spec`: what a name such as "leaky_relu" or "adamw" stands for, with its parameters.

Activations, losses, solvers and schedules are specs: small objects that say all there
is to know of one of them, and hold nothing but their parameters. A name is a shorthand
for the spec with default parameters.
"""

from copy import copy
from dataclasses import fields
from numbers import Integral, Real
from typing import ClassVar

import numpy as np


class Spec:
    """Base of the dataclasses that each describe one function, solver or schedule.

    Their fields are its parameters. Specs of one class with equal parameters are equal.
    They show themselves as the call that makes them, and can be copied, pickled, and
    searched by scikit-learn as an estimator can (``solver__weight_decay``).

    Attributes
    ----------
    name : str
        Its shorthand.
    ranges : dict
        Parameter -> what it may be: a number of an interval such as "[0, 1)", an
        integer of "int [1, inf)", or "bool".
    """

    name: ClassVar[str]
    ranges: ClassVar[dict[str, str]] = {}

    def __setattr__(self, parameter, value):
        if parameter not in self.ranges:
            raise AttributeError(
                f"{type(self).__name__} has no parameter {parameter!r}; it has "
                f"{', '.join(self.ranges) or 'none'}."
            )
        if not _is_in(value, self.ranges[parameter]):
            raise ValueError(
                f"{parameter}={value!r} of {type(self).__name__} must be "
                f"{_in_words(self.ranges[parameter])}."
            )
        super().__setattr__(parameter, value)

    def get_params(self, deep=True):
        """The parameters by name, as an estimator's."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **params):
        """Set parameters by name, as an estimator's; returns itself."""
        for parameter, value in params.items():
            setattr(self, parameter, value)
        return self


def _is_in(value, allowed):
    """Whether `value` is what an entry of `Spec.ranges` allows."""
    if allowed == "bool":
        return isinstance(value, bool | np.bool_)
    kind = Integral if allowed.startswith("int ") else Real
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    interval = allowed.removeprefix("int ")
    low, high = map(float, interval[1:-1].split(","))
    above = value >= low if interval.startswith("[") else value > low
    below = value <= high if interval.endswith("]") else value < high
    return above and below  # NaN is neither


def _in_words(allowed):
    if allowed == "bool":
        return "True or False"
    whole = "an integer " if allowed.startswith("int ") else ""
    return f"{whole}in {allowed.removeprefix('int ')}"


def resolve(what, given, specs, owner=None):
    """The spec that a name or a spec stands for, as an object of its own.

    Parameters
    ----------
    what : str
        The parameter for which it was given.
    given : str or Spec
    specs : dict of {str: type}
        The specs there are, by name.
    owner : object, default=None
        A name takes its parameters from the attributes that are called like them; the
        default, if there is none.

    Raises
    ------
    ValueError
        If it is neither the name of one of them nor one of them.
    """
    if isinstance(given, str) and given in specs:
        spec = specs[given]
        shared = [name for name in spec.ranges if hasattr(owner, name)]
        return spec(**{name: getattr(owner, name) for name in shared})
    if isinstance(given, tuple(specs.values())):
        return copy(given)
    classes = ", ".join(spec.__name__ for spec in specs.values())
    raise ValueError(
        f"{what}={given!r} is unknown; it must be one of {tuple(specs)}, or an object "
        f"of one of the classes {classes}."
    )


def named(*specs):
    """name -> spec, in this order."""
    return {spec.name: spec for spec in specs}
