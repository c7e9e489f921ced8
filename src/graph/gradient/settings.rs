//! Which attributes the rules know. A node with another has no rule: what it would change must not be passed over.

use crate::graph::proto::{AttributeProto, NodeProto};

/// The attributes that an operator's rule reads or hands on, and those that change nothing of a gradient (precisions, seeds).
fn known(operator: &str) -> &'static [&'static str] {
    const REDUCTION: &[&str] = &["axes", "keepdims", "noop_with_empty_axes"];
    match operator {
        "Attention" => &[
            "is_causal",
            "kv_num_heads",
            "q_num_heads",
            // Of an output that has no gradient.
            "qk_matmul_output_mode",
            "scale",
            "softcap",
            "softmax_precision",
        ],
        "AveragePool" => {
            &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"]
        }
        "BatchNormalization" => &[
            "epsilon",
            "momentum",
            "training_mode",
            super::normalization::SAMPLE_VARIANCE,
            super::normalization::OVER_RANKS,
        ],
        "Cast" => &["round_mode", "saturate", "to"],
        "CastLike" => &["round_mode", "saturate"],
        "Celu" | "Elu" | "LeakyRelu" | "Swish" | "ThresholdedRelu" => &["alpha"],
        "Concat" | "Flatten" | "Gather" | "GatherElements" | "LogSoftmax" | "Softmax" => &["axis"],
        "Conv" => &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"],
        "ConvTranspose" => {
            &["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "output_shape", "pads", "strides"]
        }
        "CumSum" => &["exclusive", "reverse"],
        "DepthToSpace" => &["blocksize", "mode"],
        "Dropout" => &["seed"],
        "Einsum" => &["equation"],
        "GatherND" => &["batch_dims"],
        "Gelu" => &["approximate"],
        "Gemm" => &["alpha", "beta", "transA", "transB"],
        "GlobalLpPool" => &["p"],
        "GridSample" => &["align_corners", "mode", "padding_mode"],
        "GroupNormalization" => &["epsilon", "num_groups", "stash_type"],
        "HardSigmoid" => &["alpha", "beta"],
        "InstanceNormalization" => &["epsilon"],
        "LayerNormalization" | "RMSNormalization" => &["axis", "epsilon", "stash_type"],
        "LpNormalization" => &["axis", "p"],
        "LpPool" => &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "p", "pads", "strides"],
        "MaxPool" => &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
        "MeanVarianceNormalization" => &["axes"],
        // Either way of rounding the quotient has the same slope.
        "Mod" => &["fmod"],
        "Pad" => &["mode"],
        "Reshape" => &["allowzero"],
        "Resize" => &[
            "antialias",
            "axes",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
        ],
        "RotaryEmbedding" => &["interleaved", "num_heads", "rotary_embedding_dim"],
        "ScatterElements" => &["axis", "reduction"],
        "ScatterND" => &["reduction"],
        "Selu" => &["alpha", "gamma"],
        "SpaceToDepth" => &["blocksize"],
        "Split" => &["axis", "num_outputs"],
        // The gradient follows the places, whichever elements and order they stand for.
        "TopK" => &["axis", "largest", "sorted"],
        "Transpose" => &["perm"],
        "Trilu" => &["upper"],
        name if name.starts_with("Reduce") => REDUCTION,
        _ => &[],
    }
}

/// Whether an attribute that a rule does not know says what its absence does.
fn is_default(operator: &str, attribute: &AttributeProto) -> bool {
    match (operator, attribute.name()) {
        ("Attention", "left_window_size" | "right_window_size") => attribute.i() == -1,
        ("BatchNormalization", "spatial") => attribute.i() == 1,
        ("SpaceToDepth", "mode") => attribute.s() == b"DCR",
        _ => false,
    }
}

/// The first attribute of a node that the rule of its operator does not know.
pub(super) fn unknown(node: &NodeProto) -> Option<&str> {
    let operator = node.op_type();
    let passed_over =
        |attribute: &&AttributeProto| !known(operator).contains(&attribute.name()) && !is_default(operator, attribute);
    node.attribute.iter().find(passed_over).map(AttributeProto::name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::build::{Value, attribute, node};

    #[test]
    fn attributes_of_this_program_are_known_and_others_are_named() {
        let mut normalised = node("BatchNormalization", &["x"], &["y"], Vec::new());
        for own in [super::super::normalization::SAMPLE_VARIANCE, super::super::normalization::OVER_RANKS] {
            normalised.attribute.push(attribute(own, Value::Int(1)));
        }
        assert_eq!(unknown(&normalised), None);
        normalised.attribute.push(attribute("spatial", Value::Int(0)));
        assert_eq!(unknown(&normalised), Some("spatial"));
        normalised.attribute.pop();
        normalised.attribute.push(attribute("spatial", Value::Int(1)));
        assert_eq!(unknown(&normalised), None, "it is what its absence says");
    }
}
