//! `Attention` and `RotaryEmbedding`, as the functions that the standard defines them by.

use super::{Spelling, Writer};
use crate::graph::{
    Result,
    build::{Dim, Element, Value, attribute, int},
    proto::NodeProto,
};

pub(super) fn spelling(operator: &str) -> Option<Spelling> {
    Some(match operator {
        "Attention" => attention,
        "RotaryEmbedding" => rotary,
        _ => return None,
    })
}

fn heads(writer: &Writer, node: &NodeProto, name: &str) -> Result<usize> {
    let heads = usize::try_from(node.int(name, 0)).ok().filter(|&heads| heads > 0);
    heads.ok_or_else(|| writer.error(format!("with three axes it wants {name} above 0")))
}

/// `[batch, places, heads * length]` as `[batch, heads, places, length]`; four axes stay as they are.
fn apart(writer: &mut Writer, value: &str, heads: usize) -> Result<String> {
    let length = writer.length(value, 2)? / heads;
    let split = writer.reshape(value, &[0, 0, int(heads), int(length)])?;
    writer.transpose(&split, &[0, 2, 1, 3])
}

/// `y = softmax(scale q k' + mask) v` for each head
fn attention(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    for (input, what) in [(4, "past_key"), (5, "past_value"), (6, "nonpad_kv_seqlen")] {
        if node.given(input).is_some() {
            return Err(writer.error(format!("with {what} it cannot be differentiated; export it without a cache")));
        }
    }
    let [query, key, value] = [0, 1, 2].map(|index| writer.input(node, index).map(str::to_owned));
    let (mut query, mut key, mut value) = (query?, key?, value?);
    let is_flat = writer.rank(&query)? == 3;
    if is_flat {
        let (q_heads, kv_heads) = (heads(writer, node, "q_num_heads")?, heads(writer, node, "kv_num_heads")?);
        query = apart(writer, &query, q_heads)?;
        key = apart(writer, &key, kv_heads)?;
        value = apart(writer, &value, kv_heads)?;
    }
    let (q_heads, kv_heads) = (writer.length(&query, 1)?, writer.length(&key, 1)?);
    if kv_heads == 0 || q_heads % kv_heads != 0 {
        return Err(writer.error(format!("its {q_heads} heads of queries are no multiple of {kv_heads} of keys")));
    }
    if q_heads != kv_heads {
        key = repeated(writer, &key, q_heads / kv_heads)?;
        value = repeated(writer, &value, q_heads / kv_heads)?;
    }
    let length = writer.length(&query, 3)?;
    #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52")]
    let default = 1.0 / (length as f64).sqrt();
    let scale = node.attr("scale").map_or(default, |scale| f64::from(scale.f()));
    let scaled = writer.scaled(&query, scale)?;
    let turned = writer.transpose(&key, &[0, 1, 3, 2])?;
    let mut scores = writer.op("MatMul", &[&scaled, &turned])?;
    // Before the mask, whose minus infinity it would lift.
    let softcap = node.float("softcap", 0.0);
    if softcap > 0.0 {
        let small = writer.scaled(&scores, 1.0 / softcap)?;
        let bent = writer.op("Tanh", &[&small])?;
        scores = writer.scaled(&bent, softcap)?;
    }
    if node.int("is_causal", 0) != 0 {
        let mask = causal(writer, &scores)?;
        scores = writer.op("Add", &[&scores, &mask])?;
    }
    if let Some(mask) = node.given(3) {
        let mask = if writer.shapes.element(mask) == Some(Element::Bool) {
            let (zero, far) = (writer.scalar(0.0, &scores)?, writer.scalar(f64::NEG_INFINITY, &scores)?);
            writer.op("Where", &[mask, &zero, &far])?
        } else {
            mask.to_owned()
        };
        scores = writer.op("Add", &[&scores, &mask])?;
    }
    let weights = writer.with("Softmax", &[&scores], vec![attribute("axis", Value::Int(-1))])?;
    let mixed = writer.op("MatMul", &[&weights, &value])?;
    if !is_flat {
        return Ok(mixed);
    }
    let width = int(q_heads * writer.length(&mixed, 3)?);
    let turned = writer.transpose(&mixed, &[0, 2, 1, 3])?;
    writer.reshape(&turned, &[0, 0, width])
}

/// Each head of keys or values as often as there are heads of queries to it.
fn repeated(writer: &mut Writer, value: &str, times: usize) -> Result<String> {
    let (heads, length) = (writer.length(value, 1)?, writer.length(value, 3)?);
    let spread = writer.unsqueeze(value, &[2])?;
    let copies = vec![spread.as_str(); times];
    let copies = writer.concat(&copies, 2)?;
    // The places are the one length that may not be known beside the batch.
    writer.reshape(&copies, &[0, int(heads * times), -1, int(length)])
}

/// 0 where a key does not come after its query, else minus infinity, `[queries, keys]`.
fn causal(writer: &mut Writer, scores: &str) -> Result<String> {
    let shape = writer.op("Shape", &[scores])?;
    let square = writer.slice(&shape, 0, (2, 4, 1))?;
    let far = writer.scalar(f64::NEG_INFINITY, scores)?;
    let full = writer.op("Expand", &[&far, &square])?;
    let one = writer.int(1)?;
    writer.with("Trilu", &[&full, &one], vec![attribute("upper", Value::Int(1))])
}

/// Pairs `(a, b)` of each place turned by its angle: `(a cos - b sin, a sin + b cos)`
fn rotary(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let x = writer.input(node, 0)?;
    let is_flat = writer.rank(x)? == 3;
    let value = if is_flat {
        let heads = heads(writer, node, "num_heads")?;
        apart(writer, x, heads)?
    } else {
        x.to_owned()
    };
    let length = int(writer.length(&value, 3)?);
    let turned = match node.int("rotary_embedding_dim", 0) {
        0 => length,
        turned if (2..=length).contains(&turned) => turned,
        turned => return Err(writer.error(format!("its rotary_embedding_dim is {turned}, wanted 2 to {length}"))),
    };
    let inner = writer.slice(&value, 3, (0, turned, 1))?;
    let mut angles = [1, 2].map(|index| writer.input(node, index).map(str::to_owned));
    for angle in &mut angles {
        let mut table = std::mem::replace(angle, Ok(String::new()))?;
        if let Some(places) = node.given(3) {
            table = writer.op("Gather", &[&table, places])?;
        }
        table = writer.slice(&table, 2, (0, turned / 2, 1))?;
        *angle = writer.unsqueeze(&table, &[1]);
    }
    let [cos, sin] = angles;
    let (cos, sin) = (cos?, sin?);
    let interleaved = node.int("interleaved", 0) != 0;
    let (first, second) = if interleaved {
        (writer.slice(&inner, 3, (0, turned, 2))?, writer.slice(&inner, 3, (1, turned, 2))?)
    } else {
        (writer.slice(&inner, 3, (0, turned / 2, 1))?, writer.slice(&inner, 3, (turned / 2, turned, 1))?)
    };
    let [a_cos, b_sin] = [(&first, &cos), (&second, &sin)].map(|(left, right)| writer.op("Mul", &[left, right]));
    let [a_sin, b_cos] = [(&first, &sin), (&second, &cos)].map(|(left, right)| writer.op("Mul", &[left, right]));
    let real = writer.op("Sub", &[&a_cos?, &b_sin?])?;
    let imaginary = writer.op("Add", &[&a_sin?, &b_cos?])?;
    let mut out = if interleaved {
        let (real, imaginary) = (writer.unsqueeze(&real, &[4])?, writer.unsqueeze(&imaginary, &[4])?);
        let pairs = writer.concat(&[&real, &imaginary], 4)?;
        let heads = writer.length(&value, 1)?;
        writer.reshape(&pairs, &[0, int(heads), -1, turned])?
    } else {
        writer.concat(&[&real, &imaginary], 3)?
    };
    if turned < length {
        let rest = writer.slice(&value, 3, (turned, length, 1))?;
        out = writer.concat(&[&out, &rest], 3)?;
    }
    if is_flat {
        let back = writer.transpose(&out, &[0, 2, 1, 3])?;
        let Some(Dim::Known(width)) = writer.shape(x)?.pop() else {
            return Err(writer.error("its last length must be known for its gradient"));
        };
        out = writer.reshape(&back, &[0, 0, int(width)])?;
    }
    Ok(out)
}
