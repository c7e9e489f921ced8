"""Runs a model on the onnxruntime of this Python: `evaluate.py MODEL FEEDS.npz OUT.npz`."""

import sys

import numpy as np
import onnxruntime

model, feeds, out = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
np.savez(out, **dict(zip(names, session.run(names, dict(np.load(feeds))))))
