"""The compiled part of the build; everything else is in pyproject.toml.

`kernels/simd/kernels.c` is compiled once per instruction set and dtype and linked into
the extension `cbp.kernels.propagator`; `simd/select.c` chooses among them at run time.

CBP_DEBUG=1      assertions on sizes and rows, bounds checks in Cython, -O1
CBP_SANITIZE=1   the same under AddressSanitizer and UndefinedBehaviorSanitizer
"""

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

SANITIZE = os.environ.get("CBP_SANITIZE") == "1"
DEBUG = SANITIZE or os.environ.get("CBP_DEBUG") == "1"

# Instruction sets beside the plain path, by machine, with the flags that turn them on.
INSTRUCTION_SETS = {
    "x86_64": {
        "sse2": [],
        "avx2": ["-mavx2", "-mfma"],
        "avx512": ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma"],
    },
    "aarch64": {"neon": []},
}
MACHINES = {"AMD64": "x86_64", "arm64": "aarch64"}
SIMD = "src/cbp/kernels/simd"
TEAM = "src/cbp/kernels/team"


class BuildExt(build_ext):
    """Compiles the kernels of every instruction set into their extension."""

    def finalize_options(self):
        super().finalize_options()
        # The switches are no files: what an earlier build left may be of another kind.
        self.force = True

    def build_extension(self, ext):
        # Other compilers lack the vector extensions: they get the plain path.
        has_vectors = self.compiler.compiler_type != "msvc"
        flags = self.flags(has_vectors)
        if ext.name == "cbp.kernels.propagator":
            self.add_kernels(ext, flags, has_vectors)
        ext.extra_compile_args += flags
        if SANITIZE:
            ext.extra_link_args += ["-fsanitize=address,undefined"]
        super().build_extension(ext)

    def add_kernels(self, ext, flags, has_vectors):
        machine = platform.machine()
        sets = INSTRUCTION_SETS.get(MACHINES.get(machine, machine), {})
        sets = {isa: sets[isa] for isa in sets if has_vectors and self.knows(sets[isa])}
        sets = {"plain": [], **sets}

        def compile_one(isa, dtype):
            return self.compile_kernels(isa, dtype, flags + sets[isa])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            builds = product(sets, ("float32", "float64"))
            for objects in pool.map(compile_one, *zip(*builds, strict=True)):
                ext.extra_objects += objects
        ext.define_macros += [(f"CBP_HAVE_{isa.upper()}", None) for isa in sets]

    def knows(self, flags):
        """Whether the compiler takes these flags: an old one may lack a late set."""
        os.makedirs(self.build_temp, exist_ok=True)
        empty = os.path.join(self.build_temp, "empty.c")
        with open(empty, "w") as file:
            file.write("int cbp_empty;")
        try:
            self.compiler.compile([empty], extra_postargs=["-Werror", *flags])
        except CompileError:
            return False
        return True

    def flags(self, has_vectors):
        if not has_vectors:
            return ["/std:c11", "/O2"]
        flags = ["-std=c11", "-fno-math-errno", "-ffp-contract=fast", "-fwrapv"]
        flags += ["-pthread"]
        if SANITIZE:
            flags += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
        return flags + (
            ["-O1", "-g", "-UNDEBUG"] if DEBUG else ["-O2", "-g0", "-DNDEBUG"]
        )

    def compile_kernels(self, isa, dtype, flags):
        macros = [
            ("CBP_TABLE", f"cbp_{isa}_{dtype}"),
            ("CBP_ISA_NAME", f'"{isa}"'),
            *([("CBP_FLOAT64", None)] if dtype == "float64" else []),
            *([("CBP_PLAIN", None)] if isa == "plain" else []),
        ]
        return self.compiler.compile(
            [f"{SIMD}/kernels.c"],
            output_dir=os.path.join(self.build_temp, isa, dtype),
            macros=macros,
            extra_postargs=flags,
            depends=[os.path.join(SIMD, name) for name in os.listdir(SIMD)],
        )


NUMPY = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]

kernels = Extension(
    "cbp.kernels.propagator",
    ["src/cbp/kernels/propagator.pyx", f"{SIMD}/select.c", f"{TEAM}/team.c"],
    include_dirs=[SIMD, TEAM, numpy.get_include()],
    define_macros=NUMPY,
    depends=[f"{SIMD}/simd.h", f"{TEAM}/team.h"],
)
shuffle = Extension(
    "cbp.data._shuffle",
    ["src/cbp/data/_shuffle.pyx"],
    include_dirs=[numpy.get_include()],
    define_macros=NUMPY,
)

setup(
    ext_modules=cythonize(
        [kernels, shuffle],
        build_dir="build/cython-debug" if DEBUG else "build/cython",
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "initializedcheck": DEBUG,
            "wraparound": False,
            "cdivision": not DEBUG,
            "embedsignature": True,
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"build_ext": BuildExt},
)
