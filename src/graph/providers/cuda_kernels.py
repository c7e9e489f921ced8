"""Writes cuda_kernels.tsv: the operators for which an onnxruntime-gpu has a CUDA kernel, from its own registry.

    python cuda_kernels.py > cuda_kernels.tsv

wants onnxruntime-gpu with the libraries that its providers load (CUDA's, cuDNN's, TensorRT's) and onnx. Nothing is computed: stubs of
the CUDA libraries, whose functions return 0, do as well. Without TensorRT's libraries `get_all_opkernel_def` of version 1.31.1 reads a
null pointer, the third of its providers; a debugger that puts CUDA's in its place gets past it.
"""
import collections
import itertools
import sys

import onnx
import onnxruntime
from onnxruntime.capi import _pybind_state as state

SHORT = {"float": "f32", "float16": "f16", "bfloat16": "bf16", "double": "f64", "bool": "bool", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64", "string": "str"}
ORDER = list(SHORT.values())
ALL = ORDER[:-1]
OPEN = 2147483647
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
OF_MICROSOFT = ("FusedMatMul", "Gelu")

HEAD = """\
# Which operators have a CUDA kernel in onnxruntime-gpu {version}: its own registry, written by cuda_kernels.py.
# Source: the wheel onnxruntime_gpu-{version}, git {commit}; its newest opset is {newest}.
#
# Columns: operator, first and last opset of the model, element types. A last opset `-` is the newest. A kernel that the registry leaves
# open at its end is onnxruntime's for the operator's version it begins with alone, so a gap after a row means: from there on, none.
# `in0=f32 f16` are the types that the first input may have; one row of an operator must fit all its values. `all` is every type of
# numbers and bool; types of 8 bits and fewer, of floats and whole numbers, and sequences are left out.
# `function` in place of types: neither CUDA nor the CPU has a kernel, and onnxruntime takes the operator's definition by others in its place.
"""


def short(types):
    named = {SHORT.get(kind[len("tensor(") : -1]) for kind in types if kind.startswith("tensor(")}
    return frozenset(named - {None})


def spelt(types):
    types = [kind for kind in ORDER if kind in types]
    return " ".join(["all", *(["str"] if "str" in types else [])] if set(ALL) <= set(types) else types)


def forms(kernels, schema):
    """Of each kernel the types by value, a row for all where every combination has one."""
    found = set()
    for constraints in kernels:
        if any(not short(types) and not any(kind.startswith("seq(") for kind in types) for types in constraints.values()):
            continue  # Of types that the table leaves out.
        form, seen = [], set()
        for word, values in (("in", schema.inputs), ("out", schema.outputs)):
            for place, value in enumerate(values):
                types = short(constraints.get(value.typeStr, ()))
                if types and value.typeStr not in seen:
                    form.append((f"{word}{place}", types))
                seen.add(value.typeStr)
        found.add(tuple(form))
    names = {tuple(name for name, _ in form) for form in found}
    if len(names) == 1:
        union = [(name, frozenset().union(*(dict(form)[name] for form in found))) for name in next(iter(names))]
        covered = set().union(*(itertools.product(*(types for _, types in form)) for form in found))
        if set(itertools.product(*(types for _, types in union))) == covered:
            return {tuple(union)}
    return found


def rows(domain, registered):
    standard = {schema.name: schema for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    schemas, kernels = collections.defaultdict(dict), collections.defaultdict(list)
    for schema in state.get_all_operator_schema():
        if schema.domain == domain:
            schemas[schema.name][schema.since_version] = schema
    for kernel in registered:
        if kernel.domain == domain:
            first, last = kernel.version_range
            constraints = {name: tuple(types) for name, types in kernel.type_constraints.items()}
            kernels[kernel.op_name, kernel.provider].append((first, last, constraints))
    for name in sorted(schemas):
        if name not in standard if domain == "" else name not in OF_MICROSOFT:
            continue
        versions, written = sorted(schemas[name]), []
        for since, following in zip(versions, [*versions[1:], None]):
            schema = schemas[name][since]

            def of(provider):
                fits = lambda first, last: first == since or (first < since and last != OPEN and last >= since)
                return [types for first, last, types in kernels[name, provider] if fits(first, last)]

            if schema.deprecated:
                continue
            if of(CUDA):
                content = sorted("\t".join(f"{value}={spelt(types)}" for value, types in form) for form in forms(of(CUDA), schema))
            elif not of(CPU) and is_function(name, since):
                content = ["function"]
            else:
                continue
            last = "-" if following is None else following - 1
            if written and written[-1][1] == since - 1 and written[-1][2] == content:
                written[-1][1] = last
            else:
                written.append([since, last, content])
        for first, last, content in written:
            for types in content:
                yield "\t".join([name if domain == "" else f"{domain}.{name}", str(first), str(last), types]).rstrip("\t")


def is_function(name, since):
    schema = onnx.defs.get_schema(name, since)
    return schema.has_function or schema.has_context_dependent_function


def main():
    commit = onnxruntime.get_build_info().split("git-commit-id=")[1].split(",")[0]
    newest = max(schema.since_version for schema in state.get_all_operator_schema() if schema.domain == "")
    print(HEAD.format(version=onnxruntime.__version__, commit=commit, newest=newest), end="")
    registered = state.get_all_opkernel_def()
    for row in itertools.chain(rows("", registered), rows("com.microsoft", registered)):
        print(row)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
