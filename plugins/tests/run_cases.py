"""Runs the case files of `examples/case_files.rs` in the onnxruntime of this Python.

    python run_cases.py LIBRARY DIR OUT
"""

import pathlib
import sys

import numpy as np
import onnxruntime

TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


def main():
    library, folder, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(library)
    models = sorted(folder.glob("*.onnx"), key=lambda path: int(path.stem))
    for path in models:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feeds = {}
        for wanted in session.get_inputs():
            values = np.fromfile(folder / f"{path.stem}.{wanted.name}.bin", TYPES[wanted.type])
            shape = [length if isinstance(length, int) else -1 for length in wanted.shape]
            feeds[wanted.name] = values.reshape(shape)
        names = [output.name for output in session.get_outputs()]
        for name, value in zip(names, session.run(names, feeds)):
            np.asarray(value, np.float64).tofile(out / f"{path.stem}.{name}.bin")
    print(f"onnxruntime {onnxruntime.__version__}: {len(models)} models run")


main()
