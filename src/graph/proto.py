"""Writes proto.rs: the messages of ONNX as Rust types for `prost`, from the descriptors inside the package `onnx`.

    pip install onnx==1.19.1
    python src/graph/proto.py >src/graph/proto.rs && rustfmt --edition 2024 src/graph/proto.rs

Every field of every message that a model can hold is declared, so that reading and writing a model loses none. Enumerations
are plain i32, as they are in the file.
"""

from google.protobuf.descriptor import FieldDescriptor as F
from onnx import onnx_ml_pb2

SCALARS = {
    F.TYPE_FLOAT: ("float", "f32"),
    F.TYPE_DOUBLE: ("double", "f64"),
    F.TYPE_INT64: ("int64", "i64"),
    F.TYPE_UINT64: ("uint64", "u64"),
    F.TYPE_INT32: ("int32", "i32"),
    F.TYPE_ENUM: ("int32", "i32"),
    F.TYPE_STRING: ("string", "String"),
    F.TYPE_BYTES: ("bytes", "Vec<u8>"),
}
KEYWORDS = {"type", "ref"}
# Messages that hold themselves, one at a time: Rust wants them boxed.
BOXED = {("AttributeProto", "g"), ("TypeProtoSequence", "elem_type"), ("TypeProtoMap", "value_type")}
BOXED |= {("TypeProtoOptional", "elem_type")}


def rust_name(message):
    outer = message.containing_type
    return (rust_name(outer) if outer else "") + message.name


def field_name(name):
    return f"r#{name}" if name in KEYWORDS else name


def camel(name):
    return "".join(part.capitalize() for part in name.split("_"))


def declare(message, out):
    name = rust_name(message)
    out.append("#[derive(Clone, PartialEq, prost::Message)]")
    out.append(f"pub struct {name} {{")
    for field in sorted(message.fields, key=lambda field: field.number):
        if field.containing_oneof:
            continue
        repeated = field.is_repeated
        if field.type == F.TYPE_MESSAGE:
            kind, rust = "message", rust_name(field.message_type)
        else:
            kind, rust = SCALARS[field.type]
        options = [kind]
        if repeated:
            options.append("repeated")
            numeric = field.type not in (F.TYPE_STRING, F.TYPE_BYTES, F.TYPE_MESSAGE)
            if numeric and not field.GetOptions().packed:
                options.append('packed = "false"')
            rust = f"Vec<{rust}>"
        else:
            if (name, field.name) in BOXED:
                options.append("boxed")
                rust = f"Box<{rust}>"
            options.append("optional")
            rust = f"Option<{rust}>"
        out.append(f'    #[prost({", ".join(options)}, tag = "{field.number}")]')
        out.append(f"    pub {field_name(field.name)}: {rust},")
    for oneof in message.oneofs:
        numbers = ", ".join(str(field.number) for field in oneof.fields)
        out.append(f'    #[prost(oneof = "{name}{camel(oneof.name)}", tags = "{numbers}")]')
        out.append(f"    pub {field_name(oneof.name)}: Option<{name}{camel(oneof.name)}>,")
    out.append("}")
    for oneof in message.oneofs:
        out.append("#[derive(Clone, PartialEq, prost::Oneof)]")
        out.append(f"pub enum {name}{camel(oneof.name)} {{")
        for field in oneof.fields:
            if field.type == F.TYPE_MESSAGE:
                kind, rust = "message", rust_name(field.message_type)
                if rust in {boxed for boxed, _ in BOXED}:
                    rust, kind = f"Box<{rust}>", "message, boxed"
            else:
                kind, rust = SCALARS[field.type]
            out.append(f'    #[prost({kind}, tag = "{field.number}")]')
            out.append(f"    {camel(field.name)}({rust}),")
        out.append("}")
    for nested in message.nested_types:
        declare(nested, out)


def main():
    out = [
        "// Written by proto.py from the descriptors of ONNX; do not edit.",
        "#![allow(missing_docs)]",
    ]
    for message in onnx_ml_pb2.DESCRIPTOR.message_types_by_name.values():
        declare(message, out)
    print("\n".join(out))


main()
