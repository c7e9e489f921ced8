"""The operators AllGather and AllReduce on several ranks, or on one: uneven rows, several types, many values in one exchange."""
import os
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h

MANY = 70  # more than a word has bits


def value(name, element, shape):
    return h.make_tensor_value_info(name, element, shape)


def main(library):
    rank, size = (int(os.environ.get(f"OMPI_COMM_WORLD_{name}", alone)) for name, alone in (("RANK", 0), ("SIZE", 1)))
    names = [f"w{i}" for i in range(MANY)]
    nodes = [
        ("AllGather", ["t0", "rows"], ["t1", "all", "first"]),
        ("AllGather", ["t1", "labels"], ["t2", "all_labels"]),
        ("AllReduce", ["t2", *names], ["t3", *(f"sum_{n}" for n in names)]),
        ("AllReduce", ["t3", "double"], ["t4", "double_sum"]),
    ]
    inputs = [value("t0", T.INT64, []), value("rows", T.FLOAT, ["n", 3]), value("labels", T.INT64, ["n"]), value("double", T.DOUBLE, [2])]
    inputs += [value(n, T.FLOAT, [i]) for i, n in enumerate(names)]
    outputs = [value("t4", T.INT64, []), value("all", T.FLOAT, ["N", 3]), value("first", T.INT64, []), value("all_labels", T.INT64, ["N"])]
    outputs += [value("double_sum", T.DOUBLE, [2]), *(value(f"sum_{n}", T.FLOAT, [i]) for i, n in enumerate(names))]
    graph = h.make_graph([h.make_node(*node, domain="com.pdloss") for node in nodes], "exchanges", inputs, outputs)
    opsets = [h.make_opsetid("", 17), h.make_opsetid("com.pdloss", 1)]
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(library)
    model = h.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for again in range(3):
        own = lambda r: 2 * r + again % 2  # at first the first rank has no rows
        feeds = {"t0": np.array(5), "rows": np.full((own(rank), 3), rank, np.float32), "labels": np.full(own(rank), rank, np.int64)}
        feeds |= {"double": np.array([rank, 1e-17]), **{n: np.full(i, rank + i, np.float32) for i, n in enumerate(names)}}
        found = dict(zip((o.name for o in session.get_outputs()), session.run(None, feeds)))
        everyone = np.concatenate([np.full(own(r), r, np.int64) for r in range(size)])
        assert found["t4"] == 9 and found["first"] == sum(own(r) for r in range(rank)), found
        assert np.array_equal(found["all_labels"], everyone) and np.array_equal(found["all"], everyone[:, None] * np.ones((1, 3)))
        assert np.allclose(found["double_sum"], [sum(range(size)), size * 1e-17], rtol=1e-15)
        for i, n in enumerate(names):
            assert np.array_equal(found[f"sum_{n}"], np.full(i, sum(range(size)) + i * size)), n
    if rank == 0:
        print(f"operators: exchanged by {size} ranks")


main(sys.argv[1])
