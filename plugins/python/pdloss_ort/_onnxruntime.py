"""Imports onnxruntime's training package, with or without torch.

``onnxruntime.training`` imports torch for two of its sub-packages, ``amp`` and ``optim``, which belong to a trainer that is
no longer there; nothing of the on-device training API needs them. Where torch is not installed they get a placeholder that says so
when used, and the rest of the package works.
"""

import importlib
import importlib.util
import sys
import types

_NEEDS_TORCH = ("onnxruntime.training.amp", "onnxruntime.training.optim")


class _NeedsTorch(types.ModuleType):
    __path__: list = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(f"{self.__name__}.{name} needs torch, which is not installed: pip install torch")


# onnxruntime-training-cpu 1.19.2, the last release, reads models up to this version of the format.
_NEWEST_IR = 10


def check_onnx(onnx):
    """Refuses an onnx package whose models the training build cannot read."""
    if onnx.IR_VERSION > _NEWEST_IR:
        raise ImportError(
            f"onnx {onnx.__version__} writes models of IR version {onnx.IR_VERSION}, onnxruntime-training-cpu 1.19.2 reads "
            f"up to {_NEWEST_IR}: pip install 'pdloss-ort[training]', or 'onnx<1.17'"
        )


def import_training(onnx):
    """``onnxruntime.training``, or an ImportError that says what to install, also where ``onnx`` is too new for it."""
    try:
        importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ImportError(
            "pdloss_ort.training needs onnxruntime with training: pip install 'pdloss-ort[training]'"
        ) from error
    if importlib.util.find_spec("onnxruntime.training") is None or not _has_training():
        raise ImportError(
            f"onnxruntime {sys.modules['onnxruntime'].__version__} is an inference build; training needs another "
            "package in its place: pip uninstall onnxruntime, pip install onnxruntime-training-cpu==1.19.2"
        )
    check_onnx(onnx)
    if importlib.util.find_spec("torch") is None:
        for name in _NEEDS_TORCH:
            if name not in sys.modules:
                sys.modules[name] = _NeedsTorch(name)
    return importlib.import_module("onnxruntime.training")


def _has_training():
    state = importlib.import_module("onnxruntime.capi._pybind_state")
    return hasattr(state, "GradientGraphBuilder")
