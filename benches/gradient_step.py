"""Forward and backward pass: our gradient graph on a stock onnxruntime against onnxruntime-training 1.19.2.

    tests/ort_training/run.sh benches/gradient_step.py [resnet18|mobilenet|vit|mobilefacenet ...]

BATCH=symbolic leaves the batch a name; REPEATS sets the number of steps.

Both take the weights as inputs that may change, the same images and the same loss; two threads each, one process each,
turn by turn. The loss and every gradient are compared before anything is timed. The ratio is theirs over ours: above 1
ours is faster.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "ort_training"))
sys.path.insert(0, str(HERE.parent / "plugins" / "python" / "pdloss_ort"))
THREADS = 2
CASES = {"resnet18": (32, 64, 64), "mobilenet": (32, 64, 32), "vit": (32, 64, 32), "mobilefacenet": (16, 112, 128)}


def import_training():
    from _onnxruntime import import_training

    import_training()


def serve(step):
    """Answers every line with the seconds of one step."""
    step()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "step":
            start = time.perf_counter()
            step()
            print(time.perf_counter() - start, flush=True)
        else:
            np.savez(line.strip(), **step(True))
            print("saved", flush=True)


def ours(folder):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(f"{folder}/gradient.onnx", options, providers=["CPUExecutionProvider"])
    gradients = json.loads((folder / "gradients.json").read_text())
    binding = session.io_binding()
    for name, value in {**np.load(folder / "feeds.npz"), **np.load(folder / "weights.npz")}.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value))
    names = ["loss", *gradients.values()]
    for name in names:
        binding.bind_output(name)

    def step(results=False):
        session.run_with_iobinding(binding)
        if results:
            out = dict(zip(names, binding.copy_outputs_to_cpu()))
            return {"loss": out["loss"], **{weight: out[value] for weight, value in gradients.items()}}

    serve(step)


def theirs(folder):
    from onnxruntime import SessionOptions
    import_training()
    from onnxruntime.training.api import CheckpointState, Module

    options = SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    state = CheckpointState.load_checkpoint(f"{folder}/checkpoint")
    module = Module(f"{folder}/training_model.onnx", state, session_options=options)
    module.train()
    (image,) = np.load(folder / "feeds.npz").values()

    def step(results=False):
        loss = module(image)
        if results:
            parameters = {name: parameter.grad for name, parameter in state.parameters if parameter.requires_grad}
            return {"loss": np.asarray(loss), **parameters}
        module.lazy_reset_grad()

    serve(step)


def prepare(name, folder):
    """Writes both models, the weights and the images."""
    import onnx
    from onnx import helper, numpy_helper

    import_training()
    from onnxruntime.training import artifacts

    import models
    import reference

    batch, size, dim = CASES[name]
    fixed = os.environ.get("BATCH", "fixed") == "fixed"
    if name == "mobilefacenet":
        model = onnx.load(os.environ["MOBILEFACENET"])
        for value in (model.graph.input[0], model.graph.output[0]):
            length = value.type.tensor_type.shape.dim[0]
            length.CopyFrom(type(length)(dim_value=batch) if fixed else type(length)(dim_param="batch"))
        for node in model.graph.node:
            if node.op_type == "Constant" and node.output[0] == model.graph.node[-1].input[1]:
                node.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array([batch if fixed else -1, dim])))
        model = onnx.shape_inference.infer_shapes(model)
    else:
        model = getattr(models, name)(size, dim=dim, batch=batch if fixed else "batch")
    models.with_loss(model, dim)
    del model.graph.output[0]
    onnx.save(model, folder / "model.onnx")
    command = [os.environ["DIFFERENTIATE"], folder / "model.onnx", folder / "gradient.onnx", "loss"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    gradients = {weight: value for kind, weight, value in (line.split("\t") for line in lines) if kind == "gradient"}
    gradients = {weight: value for weight, value in gradients.items() if not weight.startswith("loss_")}
    (folder / "gradients.json").write_text(json.dumps(gradients))

    # Weights become inputs, so that neither side can take them for constants.
    gradient = onnx.load(folder / "gradient.onnx")
    weights = {}
    for tensor in list(gradient.graph.initializer):
        if tensor.name in gradients:
            weights[tensor.name] = numpy_helper.to_array(tensor)
            gradient.graph.initializer.remove(tensor)
            gradient.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.save(gradient, folder / "gradient.onnx")
    np.savez(folder / "weights.npz", **weights)
    image = np.random.default_rng(0).standard_normal((batch, 3, size, size)).astype(np.float32)
    np.savez(folder / "feeds.npz", **{model.graph.input[0].name: image})
    frozen = [t.name for t in model.graph.initializer if t.name not in gradients and t.data_type == 1]
    artifacts.generate_artifacts(
        reference.in_training_mode(model), requires_grad=list(gradients), frozen_params=frozen, artifact_directory=folder
    )


def ask(worker, line):
    worker.stdin.write(f"{line}\n")
    worker.stdin.flush()
    return worker.stdout.readline().strip()


def measure(name, repeats):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        prepare(name, folder)
        pythons = {"ours": os.environ["STOCK"], "theirs": sys.executable}
        workers = {
            side: subprocess.Popen(
                [python, __file__, f"--{side}", temporary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for side, python in pythons.items()
        }
        try:
            for side, worker in workers.items():
                if worker.stdout.readline().strip() != "ready":
                    raise SystemExit(f"{name}: {side} failed")
                ask(worker, folder / f"{side}.npz")
            got, wanted = (np.load(folder / f"{side}.npz") for side in ("ours", "theirs"))
            # Rounding turns a few of the millions of ReLUs, each of which moves some element; a wrong term moves whole weights.
            distance = {weight: np.linalg.norm(got[weight] - wanted[weight]) for weight in wanted.files}
            size_of = {weight: np.linalg.norm(wanted[weight]) for weight in wanted.files}
            whole = np.linalg.norm(list(distance.values())) / np.linalg.norm(list(size_of.values()))
            floor = 1e-3 * max(size_of.values())
            worst = max(wanted.files, key=lambda weight: distance[weight] / max(size_of[weight], floor))
            share = distance[worst] / max(size_of[worst], floor)
            if not (whole <= 2e-3 and share <= 3e-2):
                raise SystemExit(f"{name}: gradients differ by {whole:.1e}, {worst} by {share:.1e}; nothing is timed")
            print(f"{name}: gradients agree to {whole:.1e}, {worst} to {share:.1e}", flush=True)
            times = {side: [] for side in workers}
            for _ in range(repeats):
                for side, worker in workers.items():
                    times[side].append(float(ask(worker, "step")))
        finally:
            for worker in workers.values():
                worker.kill()
    median = {side: statistics.median(values) for side, values in times.items()}
    best = {side: min(values) for side, values in times.items()}
    batch, size, _ = CASES[name]
    print(
        f"{name:<14} batch {batch} at {size} px: ours {1e3 * median['ours']:.0f} ms (best {1e3 * best['ours']:.0f}), "
        f"onnxruntime-training {1e3 * median['theirs']:.0f} ms (best {1e3 * best['theirs']:.0f}), "
        f"ratio {median['theirs'] / median['ours']:.2f} (of the best {best['theirs'] / best['ours']:.2f})",
        flush=True,
    )


def main():
    if len(sys.argv) == 3 and sys.argv[1] in ("--ours", "--theirs"):
        return {"--ours": ours, "--theirs": theirs}[sys.argv[1]](pathlib.Path(sys.argv[2]))
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    names = sys.argv[1:] or [name for name in CASES if name != "mobilefacenet" or "MOBILEFACENET" in os.environ]
    for name in names:
        measure(name, int(os.environ.get("REPEATS", "15")))


if __name__ == "__main__":
    sys.exit(main())
