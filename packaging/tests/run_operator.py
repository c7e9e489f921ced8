"""The loss, as an operator of the installed pdloss_ort, in a session of the installed onnxruntime: run_operator.py loss.onnx"""
import sys

import numpy as np
import onnxruntime
import pdloss_ort

options = onnxruntime.SessionOptions()
options.register_custom_ops_library(pdloss_ort.get_library_path())
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
embeddings = np.array([[1, 0.1], [0.2, 1], [0.7, 0.6]], np.float32)
feeds = {"embeddings": embeddings, "proxies": np.eye(2, dtype=np.float32), "labels": np.array([0, 1, 0])}
loss = float(session.run(["loss"], feeds)[0])
assert abs(loss - -0.816545) < 1e-5, loss
print(f"beside onnxruntime {onnxruntime.__version__}: loss {loss:.6f}")
