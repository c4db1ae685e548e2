"""How many threads a call may use. The kernels take fewer where a step has little work.

`n_jobs` means what scikit-learn's users know from joblib, with two differences. None
stands for all cores instead of one, since threads change no result. And inside a worker
of joblib, or another process that multiprocessing has started, where all cores are as
good as taken, None and the negative numbers stand for one thread: more would stand in
each other's way. A positive number holds there, too, as it does for joblib.
"""

import os
from multiprocessing import parent_process

import joblib
from joblib.parallel import get_active_backend

#: Multiplications of a call below which it takes less time than counting the cores.
WORTH_COUNTING = 1 << 24


def threads_for(work, n_jobs):
    """As `available_threads`, without a look at the machine if there is little to do.

    Parameters
    ----------
    work : int
        Multiplications of the whole call: rows times parameters times epochs.
    n_jobs : int or None
    """
    return 1 if work < WORTH_COUNTING else available_threads(n_jobs)


def available_threads(n_jobs=None):
    """How many threads there may be, at least 1 and at most one per core.

    The cores are those that this process may use: by its CPU affinity, by the limits of
    its container, and by LOKY_MAX_CPU_COUNT.

    Parameters
    ----------
    n_jobs : int or None, default=None
        - None: all cores, but no more than a number in OMP_NUM_THREADS; within
          ``joblib.parallel_config(n_jobs=k)`` as k
        - k > 0: at most k
        - -1: all cores, -2: all but one, and so on

    Raises
    ------
    ValueError
        If it is 0.
    """
    if n_jobs == 0:
        raise ValueError(
            "n_jobs=0 has no meaning; use None for all cores, or 1 for one thread."
        )
    backend, configured = get_active_backend()
    if n_jobs is None and configured is not None and configured > 0:
        n_jobs = configured
    shares_cores = backend.nesting_level or parent_process() is not None
    if n_jobs == 1 or (shares_cores and (n_jobs is None or n_jobs < 0)):
        return 1
    cores = joblib.cpu_count()
    if n_jobs is None:
        n_jobs = _omp_num_threads() or cores
    elif n_jobs < 0:
        n_jobs += cores + 1
    return max(1, min(int(n_jobs), cores))


def _omp_num_threads():
    """The number in OMP_NUM_THREADS, of a list the first; 0 if there is none."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() else 0
