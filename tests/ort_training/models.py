"""Small and real backbones for comparisons, drawn by a seed: `resnet18`, `mobilenet`, `vit`, and any ONNX file.

Each function returns a model from `x` [batch, 3, size, size] to `embeddings` [batch, dim], with BatchNormalization in
inference mode as exporters leave it. Weights are drawn so that activations keep their scale; no weight is special.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Nodes and weights under construction."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights, self.count = [], [], 0

    def name(self, stem):
        self.count += 1
        return f"{stem}{self.count}"

    def weight(self, stem, values):
        name = self.name(stem)
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def ints(self, values):
        name = self.name("ints")
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def op(self, operator, inputs, **attributes):
        output = self.name(operator)
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def normal(self, shape, fan_in):
        return self.random.standard_normal(shape) * np.sqrt(2.0 / fan_in)

    def conv(self, x, channels, out, kernel, stride=1, group=1, bias=False):
        fan_in = channels // group * kernel * kernel
        inputs = [x, self.weight("conv", self.normal((out, channels // group, kernel, kernel), fan_in))]
        if bias:
            inputs.append(self.weight("conv_bias", 0.1 * self.random.standard_normal(out)))
        pads = [kernel // 2] * 4
        return self.op("Conv", inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=group)

    def norm(self, x, channels):
        draw = self.random.standard_normal
        parts = {
            "scale": 1 + 0.1 * draw(channels),
            "bias": 0.1 * draw(channels),
            "mean": 0.1 * draw(channels),
            "variance": 1 + 0.1 * self.random.random(channels),
        }
        inputs = [x, *(self.weight(f"bn_{stem}", values) for stem, values in parts.items())]
        return self.op("BatchNormalization", inputs, epsilon=1e-5, momentum=0.9)

    def dense(self, x, width, out):
        weight = self.weight("dense", self.normal((width, out), 2 * width))
        bias = self.weight("dense_bias", 0.1 * self.random.standard_normal(out))
        return self.op("Add", [self.op("MatMul", [x, weight]), bias])

    def model(self, output, size, dim, opset=17, batch="batch"):
        self.nodes.append(helper.make_node("Identity", [output], ["embeddings"]))
        declare = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "backbone",
            [declare("x", TensorProto.FLOAT, [batch, 3, size, size])],
            [declare("embeddings", TensorProto.FLOAT, [batch, dim])],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def head(graph, x, channels, dim):
    """Global pool and a linear layer."""
    pooled = graph.op("Flatten", [graph.op("GlobalAveragePool", [x])], axis=1)
    weight = graph.weight("head", graph.normal((dim, channels), channels))
    bias = graph.weight("head_bias", np.zeros(dim))
    return graph.op("Gemm", [pooled, weight, bias], transB=1)


def resnet18(size=64, dim=64, seed=1, batch="batch"):
    """He et al. 2016: 18 layers, with its 7 x 7 stem and max pool."""
    graph = Graph(seed)
    x = graph.op("Relu", [graph.norm(graph.conv("x", 3, 64, 7, 2), 64)])
    x = graph.op("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for out, stride in [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]:
        y = graph.op("Relu", [graph.norm(graph.conv(x, channels, out, 3, stride), out)])
        y = graph.norm(graph.conv(y, out, out, 3), out)
        if stride != 1 or channels != out:
            x = graph.norm(graph.conv(x, channels, out, 1, stride), out)
        x = graph.op("Relu", [graph.op("Add", [y, x])])
        channels = out
    return graph.model(head(graph, x, channels, dim), size, dim, batch=batch)


def mobilenet(size=32, dim=32, seed=2, batch="batch"):
    """Inverted residuals with depthwise convolutions (Sandler et al. 2018), fewer of them."""
    graph = Graph(seed)
    x = graph.op("Relu", [graph.norm(graph.conv("x", 3, 16, 3, 2), 16)])
    channels = 16
    for out, stride, widen in [(16, 1, 2), (24, 2, 4), (24, 1, 4), (40, 2, 4), (40, 1, 4)]:
        inner = channels * widen
        y = graph.op("Relu", [graph.norm(graph.conv(x, channels, inner, 1), inner)])
        y = graph.op("Relu", [graph.norm(graph.conv(y, inner, inner, 3, stride, group=inner), inner)])
        y = graph.norm(graph.conv(y, inner, out, 1), out)
        x = graph.op("Add", [x, y]) if stride == 1 and channels == out else y
        channels = out
    return graph.model(head(graph, x, channels, dim), size, dim, batch=batch)


def vit(size=32, patch=8, width=48, heads=4, blocks=3, dim=32, seed=3, batch="batch"):
    """Dosovitskiy et al. 2021, small: patches, a class token, pre-norm attention, GELU by Erf."""
    graph = Graph(seed)
    tokens = (size // patch) ** 2
    weight = graph.weight("patch", graph.normal((width, 3, patch, patch), 3 * patch * patch))
    bias = graph.weight("patch_bias", np.zeros(width))
    x = graph.op("Conv", ["x", weight, bias], kernel_shape=[patch] * 2, strides=[patch] * 2)
    x = graph.op("Transpose", [graph.op("Reshape", [x, graph.ints([0, width, tokens])])], perm=[0, 2, 1])
    rows = graph.op("Unsqueeze", [graph.op("Gather", [graph.op("Shape", [x]), graph.ints(0)], axis=0), graph.ints([0])])
    token = graph.weight("token", 0.1 * graph.random.standard_normal((1, 1, width)))
    token = graph.op("Expand", [token, graph.op("Concat", [rows, graph.ints([1, width])], axis=0)])
    x = graph.op("Concat", [token, x], axis=1)
    x = graph.op("Add", [x, graph.weight("place", 0.1 * graph.random.standard_normal((1, tokens + 1, width)))])

    def layer_norm(x):
        scale = graph.weight("ln_scale", 1 + 0.1 * graph.random.standard_normal(width))
        bias = graph.weight("ln_bias", 0.1 * graph.random.standard_normal(width))
        return graph.op("LayerNormalization", [x, scale, bias], axis=-1, epsilon=1e-5)

    def number(value):
        return graph.op("Constant", [], value=numpy_helper.from_array(np.float32(value)))

    for _ in range(blocks):
        y = layer_norm(x)
        parts = []
        for _ in range(3):
            part = graph.op("Reshape", [graph.dense(y, width, width), graph.ints([0, 0, heads, width // heads])])
            parts.append(graph.op("Transpose", [part], perm=[0, 2, 1, 3]))
        scores = graph.op("MatMul", [parts[0], graph.op("Transpose", [parts[1]], perm=[0, 1, 3, 2])])
        scores = graph.op("Softmax", [graph.op("Div", [scores, number(np.sqrt(width / heads))])], axis=-1)
        y = graph.op("Transpose", [graph.op("MatMul", [scores, parts[2]])], perm=[0, 2, 1, 3])
        y = graph.op("Reshape", [y, graph.ints([0, 0, width])])
        x = graph.op("Add", [x, graph.dense(y, width, width)])
        y = graph.dense(layer_norm(x), width, 2 * width)
        bell = graph.op("Add", [graph.op("Erf", [graph.op("Div", [y, number(np.sqrt(2))])]), number(1)])
        y = graph.op("Mul", [graph.op("Mul", [y, bell]), number(0.5)])
        x = graph.op("Add", [x, graph.dense(y, 2 * width, width)])
    x = graph.op("Gather", [layer_norm(x), graph.ints(0)], axis=1)
    return graph.model(graph.dense(x, width, dim), size, dim, batch=batch)


def with_loss(model, dim, seed=9):
    """Behind the embeddings, `loss`: the mean over the batch of `(embeddings . w)^2 / 2 + embeddings . v`."""
    random = np.random.default_rng(seed)
    graph = model.graph
    output = graph.output[0].name
    graph.node.extend(
        [
            helper.make_node("Mul", [output, "loss_w"], ["loss_scaled"]),
            helper.make_node("Mul", ["loss_scaled", "loss_scaled"], ["loss_square"]),
            helper.make_node("Mul", ["loss_square", "loss_half"], ["loss_half_square"]),
            helper.make_node("Mul", [output, "loss_v"], ["loss_line"]),
            helper.make_node("Add", ["loss_half_square", "loss_line"], ["loss_each"]),
            helper.make_node("ReduceMean", ["loss_each"], ["loss"], keepdims=0),
        ]
    )
    constants = {"loss_w": random.standard_normal(dim), "loss_v": random.standard_normal(dim), "loss_half": 0.5}
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items())
    graph.output.append(helper.make_tensor_value_info("loss", TensorProto.FLOAT, []))
    return model
