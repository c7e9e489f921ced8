#!/usr/bin/env python3
"""The loss as `pdloss export --as function` writes it, behind an Identity, for the benchmark of `cuda.py`.

    function.py PDLOSS FOLDER DIM...        writes FOLDER/function-DIM.onnx, for machines that have no program `pdloss`
"""

import pathlib
import subprocess
import sys
import tempfile

import onnx
from onnx import TensorProto, helper


def declare(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def made(pdloss, dim):
    """Proxies become an input, so that one model serves any number of them."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = pathlib.Path(folder, "identity.onnx"), pathlib.Path(folder, "out.onnx")
        rows = [declare(name, ["B", dim]) for name in ("x", "embeddings")]
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["embeddings"])], "identity", rows[:1], rows[1:])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source)
        subprocess.run([pdloss, "export", source, out, "--as", "function", "--classes", "2"], check=True)
        model = onnx.load(out)
    del model.graph.initializer[:]
    model.graph.input.append(declare("pdloss.proxies", ["C", dim]))
    return model


def read(source, dim):
    """By the program `pdloss`, or out of a folder of models."""
    source = pathlib.Path(source)
    return onnx.load(source / f"function-{dim}.onnx") if source.is_dir() else made(source, dim)


if __name__ == "__main__":
    program, target, *dims = sys.argv[1:]
    pathlib.Path(target).mkdir(parents=True, exist_ok=True)
    for length in dims:
        onnx.save(made(program, int(length)), pathlib.Path(target, f"function-{length}.onnx"))
