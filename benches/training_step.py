"""Whole training steps (forward, backward, AdamW): our step graph on a stock onnxruntime against onnxruntime-training 1.19.2, and
against PyTorch eager.

    benches/training_step.sh [MODEL.onnx ...]

ResNet-18 at 64 px with batches of 32, and each model given with batches of 16. With TORCH_PYTHON, a Python that has torch,
torchvision and timm, also the nets of eager.py (NETS="ResNet-18 ViT-S" for some), beside PyTorch eager. The same first weights, images, labels
and loss (normalised softmax); two threads each, one process each, step by step in turn; the state stays in each runtime's memory. The
losses of the first steps are compared before anything is timed. Ratios are ours over theirs: below 1 ours is faster, or smaller.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import in_turn
import numpy as np

THREADS = 2
EAGER = pathlib.Path(__file__).with_name("eager.py")
# Of eager.py, with a batch for each.
EAGER_NETS = {"MobileFaceNet": 16, "ResNet-18": 8, "ResNet-50": 4, "ViT-S": 4}
ROUNDS = int(os.environ.get("ROUNDS", 20))


def serve(step):
    data = np.load(pathlib.Path(sys.argv[2]) / "batch.npz")
    images, labels = data["data"], data["labels"]
    in_turn.serve(lambda: step(images, labels))


def serve_ours(folder):
    """As `pdloss train` does: the state's first values are fed instead of staying in the session, what may be is updated in place, no
    memory pattern."""
    import onnxruntime

    from_numpy = onnxruntime.OrtValue.ortvalue_from_numpy
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    options.register_custom_ops_library(os.environ["LIBRARY"])
    session = onnxruntime.InferenceSession(str(folder / "step.onnx"), options, providers=["CPUExecutionProvider"])
    (description,) = [json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items() if key == "pdloss.step"]
    state = {name: from_numpy(value) for name, value in np.load(folder / "state.npz").items()}
    follows = {tensor["next"]: tensor["name"] for tensor in description["state"]}
    in_place = {tensor["next"] for tensor in description["state"] if tensor.get("in_place")}
    rate = from_numpy(np.array(float(os.environ["RATE"]), np.float32))

    def step(data, labels):
        binding = session.io_binding()
        fed = {description["data"]: from_numpy(data), "pdloss.labels": from_numpy(labels), "pdloss.learning_rate": rate, **state}
        for name, value in fed.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output("pdloss.loss", "cpu")
        for made, name in follows.items():
            if made in in_place:
                binding.bind_ortvalue_output(made, state[name])
            else:
                binding.bind_output(made, "cpu")
        session.run_with_iobinding(binding)
        loss, *following = binding.get_outputs()
        # What was updated in place keeps the object that holds its memory.
        state.update((name, value) for (made, name), value in zip(follows.items(), following) if made not in in_place)
        return float(loss.numpy())

    serve(step)


def serve_theirs(folder):
    import adamw

    serve(adamw.open_theirs(folder, THREADS)[0])


def measure(name, backbone, batch, eager=None):
    """`eager` is the folder of a net that PyTorch trains, too."""
    import adamw
    import onnx
    from onnx import numpy_helper

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        model = adamw.step_graph(folder, backbone, "operators")
        description = json.loads({entry.key: entry.value for entry in model.metadata_props}["pdloss.step"])
        (proxies,) = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == "pdloss.proxies"]
        trained = [tensor["name"] for tensor in description["state"] if tensor["kind"] in ("weight", "proxies")]
        first = {tensor.name: tensor for tensor in model.graph.initializer}
        np.savez(folder / "state.npz", **{tensor["name"]: numpy_helper.to_array(first.pop(tensor["name"])) for tensor in description["state"]})
        rest = list(first.values())
        del model.graph.initializer[:]
        model.graph.initializer.extend(rest)
        onnx.save_model(model, str(folder / "step.onnx"))
        adamw.write_theirs(folder, backbone, proxies, trained)
        data, labels = next(adamw.batches_for(backbone, batch))
        np.savez(folder / "batch.npz", data=data, labels=labels)
        np.save(folder / "proxies.npy", proxies)
        environment = {**os.environ, "RATE": str(adamw.LEARNING_RATE)}
        sides = {"ours": [os.environ["STOCK"], __file__, "--ours", temporary], "onnxruntime-training": [sys.executable, __file__, "--theirs", temporary]}
        if eager:
            for file in ("batch.npz", "proxies.npy"):
                shutil.copy(folder / file, eager)
            sides["PyTorch eager"] = [os.environ["TORCH_PYTHON"], str(EAGER), "serve", name, str(eager)]
        workers = {
            side: subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) for side, words in sides.items()
        }
        seconds, peak = in_turn.timed(name, workers, ROUNDS, 0.0)
    print(f"{name}, batch {batch}: ours {1000 * seconds['ours']:.1f} ms, {peak['ours']:.0f} MiB", flush=True)
    for side in list(sides)[1:]:
        print(f"    {side} {1000 * seconds[side]:.1f} ms, {peak[side]:.0f} MiB; time {seconds['ours'] / seconds[side]:.2f} of theirs, memory {peak['ours'] / peak[side]:.2f}", flush=True)


def main():
    import adamw
    import models
    import onnx

    print(f"{THREADS} threads, medians of {ROUNDS} steps each, in turn", flush=True)
    nets = os.environ.get("NETS", "").split()
    if not nets:
        measure("ResNet-18 at 64 px", models.resnet18(64), 32)
    for path in sys.argv[1:]:
        measure(pathlib.Path(path).stem, adamw.batch_freed(path), 16)
    if "TORCH_PYTHON" not in os.environ:
        print("PyTorch eager is left out: TORCH_PYTHON names no Python that has it")
        return
    for name, batch in EAGER_NETS.items():
        if nets and name not in nets:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            subprocess.run([os.environ["TORCH_PYTHON"], EAGER, "export", name, folder], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            measure(name, onnx.load(folder / "net.onnx"), batch, folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        serve_ours(pathlib.Path(sys.argv[2]))
    elif sys.argv[1:2] == ["--theirs"]:
        serve_theirs(pathlib.Path(sys.argv[2]))
    else:
        main()
