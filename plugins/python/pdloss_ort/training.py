"""PD-Loss in ONNX Runtime training (``onnxruntime-training-cpu`` 1.19.2).

    from pdloss_ort import get_library_path, training
    from onnxruntime.training import artifacts

    loss = training.PDLoss(num_classes=100, embedding_dim=64)
    artifacts.generate_artifacts(model, requires_grad=[*weights, loss.proxies_name], loss=loss,
                                 optimizer=artifacts.OptimType.AdamW, custom_op_library=get_library_path(),
                                 artifact_directory=folder)

then ``Module(..., session_options=training.session_options())``, whose training step takes the embedder's inputs followed by the
labels. Several losses go into one graph under names of their own: ``PDLoss(100, 64, name="faces")`` calls its tensors
``faces.loss``, ``faces.moments`` and so on. Import this module before ``onnxruntime.training`` where torch is not installed (see ``_onnxruntime``).
"""

import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import get_library_path
from ._onnxruntime import import_training

import_training(onnx)

import onnxruntime  # noqa: E402
from onnxruntime.capi import _pybind_state  # noqa: E402
from onnxruntime.training import onnxblock  # noqa: E402

__all__ = ["DLoss", "PDLoss", "class_means", "export_embedder", "register_gradients", "session_options"]

DOMAIN = "com.pdloss"
VERSION = 1

# The outputs of a gradient node are matched to the forward node's inputs by position; labels, which come last, have none. The
# gradient reads all it needs to know of the settings from the saved state, because it cannot see the node's attributes.
_GRADIENTS = {
    "PDLoss": ("PDLossGrad", ["GO(0)", "I(0)", "I(1)", "I(2)", "O(1)", "O(2)"], ["GI(0)", "GI(1)"]),
    "DLoss": ("DLossGrad", ["GO(0)", "I(0)", "I(1)", "O(1)", "O(2)"], ["GI(0)"]),
}


def register_gradients():
    """Teaches this process's onnxruntime the gradients of ``PDLoss`` and ``DLoss``. The blocks below call it."""
    for forward, (operator, inputs, outputs) in _GRADIENTS.items():
        node = _pybind_state.GradientNodeDefinition()
        node.op_type = operator
        node.domain = DOMAIN
        node.inputs = inputs
        node.outputs = outputs
        node.attributes = []
        _pybind_state.register_gradient_definition(f"{DOMAIN}::{forward}", [node])


def session_options():
    """New ``SessionOptions`` that know the operators."""
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(get_library_path())
    return options


def class_means(embeddings, labels, num_classes):
    """One proxy per class: the mean of its unit embeddings. For ``PDLoss(proxies=...)``, from an embedder's outputs."""
    embeddings = np.asarray(embeddings, np.float64)
    labels = np.asarray(labels)
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(f"embeddings {embeddings.shape} and labels {labels.shape}: wanted [samples, dim] and [samples]")
    if labels.size and not (0 <= labels.min() and labels.max() < num_classes):
        raise ValueError(f"labels from {labels.min()} to {labels.max()}: wanted 0 to {num_classes - 1}")
    counts = np.bincount(labels, minlength=num_classes)
    if (counts == 0).any():
        raise ValueError(f"class {int(np.argmin(counts))} has no sample, so no mean")
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    means = np.zeros((num_classes, embeddings.shape[1]))
    np.add.at(means, labels, unit)
    return (means / counts[:, None]).astype(np.float32)


class _Loss(onnxblock.Block):
    """A loss node on top of the model's output, and the labels it takes."""

    def __init__(
        self,
        operator,
        name,
        labels_name,
        label_type,
        *,
        form=None,
        floor=None,
        floor_mode=None,
        temperature=None,
        eps=None,
    ):
        super().__init__()
        if not name:
            raise ValueError("name: wanted a word that the loss's tensors start with, got none")
        if np.dtype(label_type) not in (np.dtype(np.int64), np.dtype(np.int32)):
            raise ValueError(f"label_type {label_type}: wanted int64 or int32")
        self.name = name
        self.labels_name = labels_name
        self.moments_name = f"{name}.moments"
        self._operator = operator
        texts = {"form": form, "floor_mode": floor_mode}
        numbers = {"floor": floor, "temperature": temperature, "eps": eps}
        self._attributes = {name: value for name, value in texts.items() if value is not None}
        self._attributes.update({name: float(value) for name, value in numbers.items() if value is not None})
        self._label_type = helper.np_dtype_to_tensor_dtype(np.dtype(label_type))
        register_gradients()

    def _add(self, embeddings_name, parameters):
        graph = self.base.graph
        results = [f"{self.name}.loss", self.moments_name, f"{self.name}.saved"]
        self._refuse_taken(graph, results)
        outputs = [output for output in graph.output if output.name == embeddings_name]
        batch = outputs[0].type.tensor_type.shape.dim[0] if outputs and outputs[0].type.tensor_type.shape.dim else None
        length = None
        if batch is not None:
            length = batch.dim_value if batch.HasField("dim_value") else batch.dim_param or None
        element = outputs[0].type.tensor_type.elem_type if outputs else TensorProto.FLOAT
        labels = next((known for known in graph.input if known.name == self.labels_name), None)
        if labels is None:
            graph.input.append(helper.make_tensor_value_info(self.labels_name, self._label_type, [length]))
        elif labels.type.tensor_type.elem_type != self._label_type:
            known, wanted = (TensorProto.DataType.Name(code) for code in (labels.type.tensor_type.elem_type, self._label_type))
            raise ValueError(f"{self.name}: the graph has an input {self.labels_name} of type {known} already, wanted {wanted}")
        inputs = [embeddings_name, *parameters, self.labels_name]
        graph.node.append(
            helper.make_node(self._operator, inputs, results, self.name, domain=DOMAIN, **self._attributes)
        )
        graph.value_info.append(helper.make_tensor_value_info(results[0], element, []))
        graph.value_info.append(helper.make_tensor_value_info(results[1], TensorProto.DOUBLE, [8]))
        graph.value_info.append(helper.make_tensor_value_info(results[2], TensorProto.DOUBLE, [f"{self.name}.saved_length"]))
        if all(opset.domain != DOMAIN for opset in self.base.opset_import):
            self.base.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
        return results[0]

    def _refuse_taken(self, graph, names):
        """Two tensors of one name are no graph, and the checker would not say whose they are."""
        taken = {name for node in graph.node for name in node.output}
        taken.update(tensor.name for tensor in (*graph.input, *graph.initializer))
        for name in names:
            if name in taken:
                raise ValueError(f"the graph has a tensor {name} already: give this loss another name=")


class PDLoss(_Loss):
    """The proxy-decidability loss of the model's output, as a block for ``artifacts.generate_artifacts(loss=...)``.

    Adds a graph input for the labels, a trainable initializer ``proxies_name`` for the proxies, and the node. Name the
    proxies among ``requires_grad``. ``additional_output_names=[loss.moments_name]`` returns the moments with each step.

    Args:
        num_classes, embedding_dim: the proxies' shape.
        name: what the names of the node and of its tensors start with; another for each loss of a graph.
        proxies_name: ``"{name}.proxies"`` where left out.
        proxies: their first values, such as ``class_means`` gives; random (normal, by ``seed``) where left out.
        form: ``"log"``, ``"negative"`` or ``"inverse"``.
        floor, floor_mode, temperature, eps: as in the operator; its defaults where left out.
    """

    def __init__(
        self,
        num_classes,
        embedding_dim,
        *,
        proxies=None,
        seed=0,
        name="pdloss",
        labels_name="labels",
        proxies_name=None,
        label_type=np.int64,
        **settings,
    ):
        super().__init__("PDLoss", name, labels_name, label_type, **settings)
        if num_classes < 2 or embedding_dim < 1:
            raise ValueError(f"{num_classes} classes of dimension {embedding_dim}: wanted at least 2 of at least 1")
        if proxies is None:
            proxies = np.random.default_rng(seed).standard_normal((num_classes, embedding_dim))
        proxies = np.asarray(proxies, np.float32)
        if proxies.shape != (num_classes, embedding_dim):
            raise ValueError(f"proxies {proxies.shape}: wanted {(num_classes, embedding_dim)}")
        self.proxies_name = proxies_name or f"{name}.proxies"
        self._proxies = proxies

    def build(self, embeddings_name):
        """Called by onnxblock with the name of the model's output; returns the loss's name."""
        self._refuse_taken(self.base.graph, [self.proxies_name])
        self.base.graph.initializer.append(numpy_helper.from_array(self._proxies, self.proxies_name))
        return self._add(embeddings_name, [self.proxies_name])


class DLoss(_Loss):
    """The decidability loss over all pairs of the batch, without proxies. Arguments as in ``PDLoss``; its tensors' names
    start with ``dloss``, so that one of each goes into a graph as they are."""

    def __init__(self, *, name="dloss", labels_name="labels", label_type=np.int64, **settings):
        super().__init__("DLoss", name, labels_name, label_type, **settings)

    def build(self, embeddings_name):
        """Called by onnxblock with the name of the model's output; returns the loss's name."""
        return self._add(embeddings_name, [])


def export_embedder(checkpoint, base_model, out):
    """Writes the trained weights into the model they came from: same graph, same names, no loss.

    onnxruntime's own ``Module.export_model_for_inferencing`` opens the graph again without the operators' library, and fails.

    Args:
        checkpoint: a ``CheckpointState``, or the path of a saved one.
        base_model: the model that was given to ``generate_artifacts``, or its path.
        out: where to write; nothing is written where something fails.

    Returns:
        The names of the initializers that were replaced.
    """
    from onnxruntime.training.api import CheckpointState

    if not isinstance(checkpoint, CheckpointState):
        checkpoint = CheckpointState.load_checkpoint(checkpoint)
    model = onnx.ModelProto()
    model.CopyFrom(base_model if isinstance(base_model, onnx.ModelProto) else onnx.load(base_model))
    trained = {name: parameter.data for name, parameter in checkpoint.parameters}
    replaced = []
    for initializer in model.graph.initializer:
        values = trained.get(initializer.name)
        if values is None:
            continue
        values = np.asarray(values)
        if list(values.shape) != list(initializer.dims):
            raise ValueError(
                f"{initializer.name}: the checkpoint has shape {list(values.shape)}, the model {list(initializer.dims)}"
            )
        initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))
        replaced.append(initializer.name)
    if not replaced:
        raise ValueError("the checkpoint holds no initializer of this model: is it the model that was trained?")
    onnx.checker.check_model(model)
    partial = f"{os.fspath(out)}.partial"
    onnx.save(model, partial)
    os.replace(partial, out)
    return replaced
