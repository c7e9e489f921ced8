"""A step graph computed in float64 by ONNX's reference evaluator: onnxruntime has no convolution in float64."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch.nn import functional as F

SINGLE, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE


def tensor(array):
    return None if array is None else torch.from_numpy(np.ascontiguousarray(array))


def around(x, pads, value=0.0):
    """With these pads, as ONNX lists them: all beginnings, then all ends."""
    axes = len(pads) // 2
    return F.pad(x, [amount for axis in reversed(range(axes)) for amount in (pads[axis], pads[axes + axis])], value=value)


# The reference's own convolutions take minutes for a net, and its MaxPool with ceil_mode has other places of the largest values.


class Conv(OpRun):
    def _run(self, x, w, b=None, auto_pad=None, dilations=None, group=1, kernel_shape=None, pads=None, strides=None):
        assert auto_pad in (None, "NOTSET"), auto_pad
        axes = w.ndim - 2
        x = around(tensor(x), pads or [0] * 2 * axes)
        y = getattr(F, f"conv{axes}d")(x, tensor(w), tensor(b), strides or 1, 0, dilations or 1, group)
        return (y.numpy(),)


class ConvTranspose(OpRun):
    def _run(self, x, w, b=None, auto_pad=None, dilations=None, group=1, kernel_shape=None, output_padding=None, output_shape=None, pads=None, strides=None):
        assert auto_pad in (None, "NOTSET") and output_shape is None, (auto_pad, output_shape)
        axes = w.ndim - 2
        y = getattr(F, f"conv_transpose{axes}d")(tensor(x), tensor(w), tensor(b), strides or 1, 0, output_padding or 0, group, dilations or 1)
        return (around(y, [-amount for amount in pads or [0] * 2 * axes]).contiguous().numpy(),)


class MaxPool(OpRun):
    def _run(self, x, auto_pad=None, ceil_mode=0, dilations=None, kernel_shape=None, pads=None, storage_order=0, strides=None):
        assert x.ndim == 4 and auto_pad in (None, "NOTSET") and not storage_order, (x.shape, auto_pad, storage_order)
        height, width = x.shape[2:]
        pads, strides, dilations = list(pads or [0] * 4), strides or [1, 1], dilations or [1, 1]
        if ceil_mode:
            for axis, length in enumerate((height, width)):
                rest = (length + pads[axis] + pads[2 + axis] - dilations[axis] * (kernel_shape[axis] - 1) - 1) % strides[axis]
                pads[2 + axis] += -rest % strides[axis]
        wide = around(tensor(x), pads, -np.inf)
        y, place = F.max_pool2d(wide, kernel_shape, strides, 0, dilations, return_indices=True)
        row, column = place // wide.shape[3] - pads[0], place % wide.shape[3] - pads[1]
        plane = torch.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], 1, 1)
        place = (plane * height + row) * width + column
        return (y.numpy(), place.numpy())[: len(self.onnx_node.output)]


def widened(graph):
    def widen(values):
        if values.data_type == SINGLE:
            values.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(values).astype(np.float64), values.name))

    for values in graph.initializer:
        widen(values)
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type == SINGLE:
            value.type.tensor_type.elem_type = DOUBLE
    del graph.value_info[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                widen(attribute.t)
            elif attribute.HasField("g"):
                widened(attribute.g)
            elif attribute.name in ("to", "dtype") and attribute.i == SINGLE:
                attribute.i = DOUBLE
            elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                value = attribute.f if attribute.name == "value_float" else attribute.floats
                attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(np.array(value, np.float64))))


def evaluator(path):
    """The model with every float32 in it as float64."""
    model = onnx.load(path)
    widened(model.graph)
    return ReferenceEvaluator(model, new_ops=[Conv, ConvTranspose, MaxPool])
