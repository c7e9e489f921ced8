"""PD-Loss in ONNX Runtime training: gradients against ORT's own differentiation, and the Python package.

    plugins/tests/training.sh

`PDLOSS` is the binary that exports the loss as a function in standard operators, whose gradient onnxruntime builds
operator by operator.
"""

import itertools
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto, helper

from pdloss_ort import get_library_path, training

import onnxruntime
from onnxruntime.capi._pybind_state import GradientGraphBuilder, get_optimized_model
from onnxruntime.training import artifacts, onnxblock
from onnxruntime.training.api import CheckpointState, Module, Optimizer

onnxruntime.set_default_logger_severity(3)

# Both sides are float32 and sum in different orders; the largest distance seen is 2e-5 of the largest element. A wrong term
# is off by a good part of it.
CLOSE = 1e-4


def identity(dim):
    """An embedder that does nothing, so that gradients arrive at its input."""
    declare = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["embeddings"])],
        "identity",
        [declare("x", TensorProto.FLOAT, ["B", dim])],
        [declare("embeddings", TensorProto.FLOAT, ["B", dim])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def exported(folder, spelling, dim, classes, *settings):
    source, out = folder / "identity.onnx", folder / f"{spelling}.onnx"
    onnx.save(identity(dim), source)
    command = [os.environ["PDLOSS"], "export", source, out, "--as", spelling, "--classes", classes, *settings]
    subprocess.run([str(part) for part in command], check=True)
    return onnx.inliner.inline_local_functions(onnx.load(out))


def with_gradient(model, wanted):
    """The model with the gradient of its loss, as ORT's builder makes it."""
    options = training.session_options()
    optimized = get_optimized_model(model.SerializeToString(), set(wanted), options)
    builder = GradientGraphBuilder(optimized, {"pdloss.loss"}, set(wanted), "pdloss.loss", options)
    builder.build()
    return onnx.load_from_string(builder.get_model())


def evaluate(model, feeds, wanted):
    session = onnxruntime.InferenceSession(model.SerializeToString(), training.session_options())
    names = ["pdloss.loss", *(f"{name}_grad" for name in wanted)]
    return dict(zip(names, session.run(names, feeds)))


def distance(got, truth):
    if got.shape != truth.shape:
        raise AssertionError(f"shape {got.shape}, wanted {truth.shape}")
    return np.abs(got - truth).max() / np.abs(truth).max()


class Gradient(unittest.TestCase):
    def setUp(self):
        training.register_gradients()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name)

    def compare(self, shape, settings, near):
        batch, classes, dim = shape
        random = np.random.default_rng(batch)
        labels = random.integers(0, classes, batch)
        wanted = ["x", "pdloss.proxies"]
        ours = exported(self.path, "op", dim, classes, *settings)
        theirs = exported(self.path, "function", dim, classes, *settings)
        proxies = onnx.numpy_helper.to_array(ours.graph.initializer[-1])
        rows = random.standard_normal((batch, dim)) + near * proxies[labels] * np.sqrt(dim)
        feeds = {"x": rows.astype(np.float32), "pdloss.labels": labels}
        models = [with_gradient(model, wanted) for model in (ours, theirs)]
        operators = [{node.op_type for node in model.graph.node} for model in models]
        self.assertIn("PDLossGrad", operators[0])
        self.assertNotIn("PDLoss", operators[1])
        got, truth = (evaluate(model, feeds, wanted) for model in models)
        for name, value in truth.items():
            worst = distance(np.asarray(got[name]), np.asarray(value))
            self.assertTrue(worst < CLOSE, f"{shape} {settings} {name}: {worst:.1e}")

    def test_equals_orts_own_differentiation(self):
        forms, modes, nearness = ("log", "negative", "inverse"), ("tangent", "clamp"), (0.0, 1.0)
        for form, mode, near in itertools.product(forms, modes, nearness):
            if mode == "clamp" and near == 0.0:
                continue  # the gap is about zero, and the clamped loss has a corner there
            settings = ["--form", form, "--temperature", "0.5"]
            if form != "negative":
                settings += ["--floor-mode", mode]
            elif mode == "clamp":
                continue  # the form negative has no floor
            with self.subTest(form=form, mode=mode, near=near):
                self.compare((24, 31, 20), settings, near)
        for shape in ((1, 9, 8), (40, 5, 16), (6, 300, 33)):
            with self.subTest(shape=shape):
                self.compare(shape, [], 1.0)

    def test_one_side_frozen(self):
        model = exported(self.path, "op", 8, 5)
        rows = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
        feeds = {"x": rows, "pdloss.labels": np.arange(6) % 5}
        both = evaluate(with_gradient(model, ["x", "pdloss.proxies"]), feeds, ["x", "pdloss.proxies"])
        for name in ("x", "pdloss.proxies"):
            alone = evaluate(with_gradient(model, [name]), feeds, [name])
            np.testing.assert_array_equal(alone[f"{name}_grad"], both[f"{name}_grad"])


def linear(dim_in, dim_out, seed=0):
    declare = helper.make_tensor_value_info
    weight = np.random.default_rng(seed).standard_normal((dim_out, dim_in)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "weight"], ["embeddings"], transB=1)],
        "linear",
        [declare("x", TensorProto.FLOAT, ["B", dim_in])],
        [declare("embeddings", TensorProto.FLOAT, ["B", dim_out])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Sum(onnxblock.Block):
    """Two losses of the same embeddings, added up."""

    def __init__(self, left, right):
        super().__init__()
        self.left, self.right, self.add = left, right, onnxblock.blocks.Add()

    def build(self, embeddings_name):
        return self.add(self.left(embeddings_name), self.right(embeddings_name))


def train(folder, model, loss, wanted, data, labels, steps=60, moments=None):
    artifacts.generate_artifacts(
        model,
        requires_grad=wanted,
        loss=loss,
        optimizer=artifacts.OptimType.AdamW,
        artifact_directory=folder,
        custom_op_library=get_library_path(),
        additional_output_names=moments or [loss.moments_name],
    )
    state = CheckpointState.load_checkpoint(f"{folder}/checkpoint")
    paths = [f"{folder}/{name}_model.onnx" for name in ("training", "eval", "optimizer")]
    module = Module(paths[0], state, paths[1], session_options=training.session_options())
    optimizer = Optimizer(paths[2], module)
    optimizer.set_learning_rate(0.02)
    module.train()
    losses = []
    for _ in range(steps):
        value, *reported = module(data, labels)
        assert all(moments.shape == (8,) and moments[5] > 0 for moments in reported)
        losses.append(float(value))
        optimizer.step()
        module.lazy_reset_grad()
    return state, losses


class Package(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        random = np.random.default_rng(1)
        self.labels = np.arange(48) % 6
        centres = random.standard_normal((6, 12))
        self.data = (centres[self.labels] + 0.5 * random.standard_normal((48, 12))).astype(np.float32)

    def test_trains_and_exports(self):
        model = linear(12, 4)
        for label_type in (np.int64, np.int32):
            loss = training.PDLoss(6, 4, label_type=label_type, seed=3)
            labels = self.labels.astype(label_type)
            state, losses = train(self.folder.name, model, loss, ["weight", loss.proxies_name], self.data, labels)
            self.assertLess(losses[-1], losses[0] - 0.5)
        out = f"{self.folder.name}/trained.onnx"
        self.assertEqual(training.export_embedder(state, model, out), ["weight"])
        trained = onnx.load(out)
        self.assertEqual([node.op_type for node in trained.graph.node], ["Gemm"])
        np.testing.assert_array_equal(
            onnx.numpy_helper.to_array(trained.graph.initializer[0]), state.parameters["weight"].data
        )
        with self.assertRaisesRegex(ValueError, "weight: the checkpoint has shape"):
            training.export_embedder(state, linear(12, 5), out)
        self.assertEqual(onnx.load(out), trained)

    def test_class_means_and_frozen_proxies(self):
        model = linear(12, 4)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        means = training.class_means(session.run(None, {"x": self.data})[0], self.labels, 6)
        loss = training.PDLoss(6, 4, proxies=means, form="negative")
        before = means.copy()
        state, losses = train(self.folder.name, model, loss, ["weight"], self.data, self.labels)
        self.assertLess(losses[-1], losses[0])
        np.testing.assert_array_equal(before, means)
        with self.assertRaisesRegex(ValueError, "class 6 has no sample"):
            training.class_means(self.data, self.labels, 7)

    def test_d_loss_trains(self):
        _, losses = train(self.folder.name, linear(12, 4), training.DLoss(), ["weight"], self.data, self.labels)
        self.assertLess(losses[-1], losses[0])

    def test_two_losses_in_one_graph(self):
        pairs = [
            (training.PDLoss(6, 4, seed=3), training.DLoss()),
            (training.PDLoss(6, 4, seed=3), training.PDLoss(6, 4, seed=4, name="other", form="negative")),
        ]
        for left, right in pairs:
            alone = []
            for loss in (left, right):
                wanted = ["weight", *([loss.proxies_name] if isinstance(loss, training.PDLoss) else [])]
                alone.append(train(self.folder.name, linear(12, 4), loss, wanted, self.data, self.labels, 1)[1][0])
            proxies = [loss.proxies_name for loss in (left, right) if isinstance(loss, training.PDLoss)]
            moments = [left.moments_name, right.moments_name]
            both, wanted = Sum(left, right), ["weight", *proxies]
            _, losses = train(self.folder.name, linear(12, 4), both, wanted, self.data, self.labels, moments=moments)
            self.assertAlmostEqual(losses[0], sum(alone), places=5)
            self.assertLess(losses[-1], losses[0])

    def test_two_losses_of_one_name_are_refused(self):
        for left, right, words in (
            (training.PDLoss(6, 4), training.PDLoss(6, 4), "pdloss.proxies already: give this loss another name="),
            (training.DLoss(), training.DLoss(), "dloss.loss already"),
            (training.PDLoss(6, 4), training.DLoss(label_type=np.int32), "dloss: .* labels of type INT64 already"),
        ):
            with self.assertRaisesRegex(ValueError, words):
                train(self.folder.name, linear(12, 4), Sum(left, right), ["weight"], self.data, self.labels, 1, ["x"])

    def test_an_onnx_of_newer_models_is_refused(self):
        code = "import onnx; onnx.IR_VERSION = 11; from pdloss_ort import training"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        self.assertIn("writes models of IR version 11, onnxruntime-training-cpu 1.19.2 reads up to 10", result.stderr)

    def test_wrong_arguments(self):
        for arguments, words in (
            (dict(num_classes=1, embedding_dim=4), "at least 2"),
            (dict(num_classes=3, embedding_dim=4, proxies=np.zeros((2, 4))), r"wanted \(3, 4\)"),
            (dict(num_classes=3, embedding_dim=4, label_type=np.float32), "int64 or int32"),
            (dict(num_classes=3, embedding_dim=4, name=""), "wanted a word"),
        ):
            with self.assertRaisesRegex(ValueError, words):
                training.PDLoss(**arguments)

    def test_imports_do_not_drag_each_other_in(self):
        code = "import sys, pdloss_ort; assert not [m for m in sys.modules if m.startswith(('onnx', 'torch', 'numpy'))]"
        subprocess.run([sys.executable, "-c", code], check=True)
        code = "import sys, onnxruntime; assert 'pdloss_ort' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_what_needs_torch_says_so(self):
        code = (
            "from pdloss_ort import training\nimport onnxruntime.training as t, sys\n"
            "assert 'torch' not in sys.modules\n"
            "try: t.optim.FusedAdam\n"
            "except ImportError as error: assert 'needs torch' in str(error), error\n"
            "else: raise SystemExit('no error')"
        )
        try:
            import torch  # noqa: F401
        except ImportError:
            subprocess.run([sys.executable, "-c", code], check=True)
        else:
            self.skipTest("torch is installed here")

    def test_inference_build_says_what_to_install(self):
        other = pathlib.Path(sys.prefix).parent / "1.32.0" / "bin" / "python"
        if not other.is_file():
            self.skipTest(f"no inference build at {other}")
        result = subprocess.run([other, "-c", "from pdloss_ort import training"], capture_output=True, text=True)
        self.assertIn("onnxruntime-training-cpu==1.19.2", result.stderr)


if __name__ == "__main__":
    unittest.main()
