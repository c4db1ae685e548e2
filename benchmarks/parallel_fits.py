"""Many fits at once, in threads: do they share the cores?

    python benchmarks/parallel_fits.py [--threads 1,2,4] [--dtype float32]

The kernels release the GIL, so fits in threads of one process (as with
``GridSearchCV(n_jobs=..., ...)`` under joblib's threading backend) run side by side,
with X in memory once. Prints how many fits a second each number of threads makes, and
that over one thread's; the same for scikit-learn's class, with one thread of BLAS for
each fit. The ideal is the number of threads, up to the number of cores.
"""

import argparse
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter

from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from step_time import circumstances
from threadpoolctl import threadpool_limits

import cbp

#: A turn makes so many fits for each thread.
FITS_PER_THREAD = 3


def fits_per_second(module, X, y, threads):
    """How many small fits a second `threads` threads make together."""

    def fit(seed):
        model = module.MLPClassifier(max_iter=20, random_state=seed)
        return model.fit(X, y)

    n_fits = FITS_PER_THREAD * threads
    with ThreadPoolExecutor(threads) as pool:
        start = perf_counter()
        list(pool.map(fit, range(n_fits)))
        return n_fits / (perf_counter() - start)


def main():
    cores = len(os.sched_getaffinity(0))
    counts = sorted({1, 2, cores} if cores > 1 else {1})
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--threads",
        type=lambda text: [int(count) for count in text.split(",")],
        default=counts,
        help=f"numbers of threads, default {counts}",
    )
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    parser.add_argument("--repeat", type=int, default=5, help="turns; median is shown")
    args = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(args.dtype)
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name, value in circumstances(args.dtype, args.repeat).items():
        if name != "threads":
            print(f"{name}: {value}")
    print("\n| package | threads | fits / s | over one thread |\n|---|---|---|---|")
    packages = {"cbp": cbp, "scikit-learn": neural_network}
    with threadpool_limits(1):
        rates = {
            (name, count): []
            for name in packages
            for count in sorted({1, *args.threads})
        }
        for _ in range(args.repeat):
            for name, count in rates:
                rates[name, count].append(fits_per_second(packages[name], X, y, count))
    for (name, count), measured in rates.items():
        rate, one = median(measured), median(rates[name, 1])
        print(f"| {name} | {count} | {rate:.2f} | {rate / one:.2f} |")


if __name__ == "__main__":
    main()
