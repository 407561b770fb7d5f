"""The same arithmetic on every x86-64 CPU with AVX2: what is set in the environment before torch and numpy are imported.

Their libraries choose kernels by the CPU they find, and a kernel for wider vectors adds in another order. Measured with one
thread on an Intel CPU with AVX-512 and on an AMD one, `pretrain@base` as the example: torch's own kernels are the same under
ATEN_CPU_CAPABILITY=avx2, MKL's products only with MKL_CBWR=COMPATIBLE (AVX2 there is another path on Intel than on AMD), with
which a step takes up to twice as long. Where there is a GPU the CPU computes nothing that counts, and `numerics.portable` is off.

Imports nothing but the standard library and yaml: it runs before all else (osler/build/process.py).
Source:
    Intel oneMKL developer guide, "Obtaining Numerically Reproducible Results": COMPATIBLE is what is promised for any x86-64.
"""

from collections.abc import MutableMapping
from pathlib import Path

SETTINGS = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "MKL_CBWR": "COMPATIBLE",  # torch's matrix products
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",  # numpy's matrix products: the kernels of AVX2, which AMD's CPUs have too
    "OPENBLAS_L2_SIZE": "512",  # kB: by which OpenBLAS cuts its sums
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
}
NOT_INHERITED = ("MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "DNNL_MAX_CPU_ISA", "MKL_DYNAMIC", "MKL_NUM_STRIPES")


def is_asked(params: Path) -> bool:
    """Whether the params file says `numerics.portable: true`.

    The answer is no where the file cannot be read: others say what is wrong with it.
    """
    from yaml import CSafeLoader, YAMLError, load

    try:
        numerics = load(params.read_text(encoding="utf-8"), CSafeLoader)["numerics"]
        return bool(numerics["portable"])
    except (OSError, ValueError, YAMLError, LookupError, TypeError, RecursionError):
        return False


def set_portable(environment: MutableMapping[str, str]) -> None:
    """Put SETTINGS in force, whatever was set before."""
    for name in NOT_INHERITED:
        environment.pop(name, None)
    environment.update(SETTINGS)
