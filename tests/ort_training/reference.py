"""The gradient that onnxruntime-training 1.19.2 builds itself."""

import onnx
from onnxruntime import SessionOptions
from onnxruntime.capi._pybind_state import GradientGraphBuilder, get_optimized_model


def in_training_mode(model):
    """BatchNormalization by the batch, with its running statistics as outputs; LayerNormalization with what its gradient
    needs."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            node.attribute.append(onnx.helper.make_attribute("training_mode", 1))
            node.output.extend(f"{node.output[0]}.running_{what}" for what in ("mean", "variance"))
        if node.op_type == "LayerNormalization":
            node.output.extend(f"{node.output[0]}.{what}" for what in ("mean", "inverse_deviation"))
    return model


def differentiated(model, wrt, loss="loss"):
    """`model` with an output `<weight>_grad` for each of `wrt`."""
    options = SessionOptions()
    options.log_severity_level = 3
    optimized = get_optimized_model(in_training_mode(model).SerializeToString(), set(wrt), options)
    builder = GradientGraphBuilder(optimized, {loss}, set(wrt), loss, options)
    builder.build()
    return onnx.load_from_string(builder.get_model())
