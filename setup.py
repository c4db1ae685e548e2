"""The compiled part of the build; everything else is in pyproject.toml.

`kernels/simd/kernels.c` is compiled once per instruction set and dtype and linked into
the extension `cbp.kernels.propagator`; `simd/select.c` chooses among them at run time.

CBP_DEBUG=1      assertions on sizes and rows, bounds checks in Cython, -Og
CBP_SANITIZE=1   the same under AddressSanitizer and UndefinedBehaviorSanitizer

What is newer than its sources, and was compiled by the same command, is kept. Each of
the three builds has a folder of its own; only the usual one is built in place.
"""

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, SetupError
from setuptools.modified import newer_group

SANITIZE = os.environ.get("CBP_SANITIZE") == "1"
DEBUG = SANITIZE or os.environ.get("CBP_DEBUG") == "1"
BUILD = "build/sanitize" if SANITIZE else "build/debug" if DEBUG else "build"

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
KERNELS = f"{SIMD}/kernels.c"
HEADERS = sorted(path.as_posix() for path in Path(SIMD).glob("*.h"))


class BuildExt(build_ext):
    """Compiles the kernels of every instruction set into their extension."""

    def finalize_options(self):
        super().finalize_options()
        if self.editable_mode:  # in temporary folders everything would be compiled anew
            usual = build(self.distribution)
            usual.build_base = BUILD
            usual.ensure_finalized()
            self.build_lib, self.build_temp = usual.build_platlib, usual.build_temp
        # There, nobody would see which build is imported.
        if DEBUG and (self.inplace or self.editable_mode):
            raise SetupError(
                "CBP_DEBUG and CBP_SANITIZE are for wheels only: CBP_DEBUG=1 make test"
            )

    def build_extension(self, ext):
        # Other compilers lack the vector extensions: they get the plain path.
        has_vectors = self.compiler.compiler_type != "msvc"
        flags = self.flags(has_vectors)
        if ext.name == "cbp.kernels.propagator":
            self.add_kernels(ext, flags, has_vectors)
        ext.extra_compile_args += flags
        if SANITIZE:
            ext.extra_link_args += ["-fsanitize=address,undefined"]
        settings = [ext.define_macros, ext.extra_compile_args, ext.extra_link_args]
        stamp = Path(self.build_temp, f"{ext.name}.command")
        forced = self.force
        with self.made_by(settings, stamp) as is_same:
            self.force = forced or not is_same
            super().build_extension(ext)
        self.force = forced

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
        ext.depends += ext.extra_objects
        ext.define_macros += [(f"CBP_HAVE_{isa.upper()}", None) for isa in sets]

    @contextmanager
    def made_by(self, settings, stamp):
        """Whether what is made here was made last by the same compiler and settings."""
        command = [*getattr(self.compiler, "compiler_so", []), settings]
        text = f"{command}\n"
        is_same = stamp.exists() and stamp.read_text("utf-8") == text
        stamp.unlink(missing_ok=True)  # what is interrupted is made anew
        yield is_same
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(text, "utf-8")

    def knows(self, flags):
        """Whether the compiler takes these flags: an old one may lack a late set."""
        os.makedirs(self.build_temp, exist_ok=True)
        empty = os.path.join(self.build_temp, "empty.c")
        with open(empty, "w") as file:
            file.write("int cbp_empty;")
        try:
            self.compiler.compile(
                [empty],
                output_dir=self.build_temp,
                extra_postargs=["-Werror", *flags],
            )
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
            # Address finds these as well; compiling both takes five times as long.
            flags += ["-fno-sanitize=null,object-size"]
            # Code to go on after an error is code to compile; the first one ends a run.
            flags += ["-fno-sanitize-recover=undefined"]
            # Where variables are, which -g would add, doubles the time; lines suffice.
            flags += ["-g1"]
        elif DEBUG:
            flags += ["-g"]
        # The kernels compile in a third of the time that -O1 takes with the sanitizers.
        return flags + (["-Og", "-UNDEBUG"] if DEBUG else ["-O2", "-g0", "-DNDEBUG"])

    def compile_kernels(self, isa, dtype, flags):
        macros = [
            ("CBP_TABLE", f"cbp_{isa}_{dtype}"),
            ("CBP_ISA_NAME", f'"{isa}"'),
            *([("CBP_FLOAT64", None)] if dtype == "float64" else []),
            *([("CBP_PLAIN", None)] if isa == "plain" else []),
        ]
        folder = Path(self.build_temp, isa, dtype)
        objects = self.compiler.object_filenames([KERNELS], output_dir=str(folder))
        with self.made_by([macros, flags], folder / "command") as is_same:
            if self.force or not is_same or newer_group([KERNELS, *HEADERS], *objects):
                self.compiler.compile(
                    [KERNELS],
                    output_dir=str(folder),
                    macros=macros,
                    extra_postargs=flags,
                )
        return objects


NUMPY = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]

kernels = Extension(
    "cbp.kernels.propagator",
    ["src/cbp/kernels/propagator.pyx", f"{SIMD}/select.c", f"{TEAM}/team.c"],
    include_dirs=[SIMD, TEAM, numpy.get_include()],
    define_macros=NUMPY,
    depends=[KERNELS, *HEADERS, f"{TEAM}/team.h"],
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
        build_dir=f"{BUILD}/cython",
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
    options={"build": {"build_base": BUILD}},
)
