"""PD-Loss as ONNX Runtime operators: where the shared library is.

    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(pdloss_ort.get_library_path())

This package needs no particular onnxruntime, and importing it imports none. Training helpers are in
``pdloss_ort.training``, which wants ``onnxruntime-training-cpu`` or another build of onnxruntime with training.
"""

import os

__all__ = ["get_library_path"]
__version__ = "0.1.0"


def get_library_path() -> str:
    """The path of the library to give to ``SessionOptions.register_custom_ops_library``.

    ``PDLOSS_ORT_LIBRARY`` in the environment takes precedence over the library inside the package.
    """
    path = os.environ.get("PDLOSS_ORT_LIBRARY") or os.path.join(os.path.dirname(__file__), "libpdloss_ort.so")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"the library of PD-Loss's operators is not at {path}")
    return path
