"""Runs the case files of `examples/case_files.rs` in the onnxruntime of this Python.

    python run_cases.py LIBRARY DIR OUT             on the CPU
    python run_cases.py LIBRARY DIR OUT cuda [N]    on the CUDA provider alone, each twice with equal bits; every N-th case
"""

import pathlib
import sys

import numpy as np

TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


def main():
    library, folder, out, *cuda = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), *sys.argv[4:]
    if cuda:
        import torch  # noqa: F401  brings the CUDA libraries that the provider is linked to
    import onnxruntime

    out.mkdir(parents=True, exist_ok=True)
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(library)
    provider = "CPUExecutionProvider"
    if cuda:
        provider = "CUDAExecutionProvider"
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    models = sorted(folder.glob("*.onnx"), key=lambda path: int(path.stem))[:: int(cuda[1]) if cuda[1:] else 1]
    for path in models:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        if session.get_providers()[0] != provider:
            sys.exit(f"{path.name}: wanted {provider}, got {session.get_providers()}")
        feeds = {}
        for wanted in session.get_inputs():
            values = np.fromfile(folder / f"{path.stem}.{wanted.name}.bin", TYPES[wanted.type])
            shape = [length if isinstance(length, int) else -1 for length in wanted.shape]
            feeds[wanted.name] = values.reshape(shape)
        names = [output.name for output in session.get_outputs()]
        results = session.run(names, feeds)
        if cuda:
            for name, first, second in zip(names, results, session.run(names, feeds)):
                if first.tobytes() != second.tobytes():
                    sys.exit(f"{path.name}: {name} differs between two runs")
        for name, value in zip(names, results):
            np.asarray(value, np.float64).tofile(out / f"{path.stem}.{name}.bin")
    print(f"onnxruntime {onnxruntime.__version__}: {len(models)} models run on {provider}")


main()
