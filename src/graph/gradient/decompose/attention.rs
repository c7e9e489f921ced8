//! `Attention` and `RotaryEmbedding`, as the functions that the standard defines them by.

use super::{super::tape::Tape, Spelling};
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

fn heads(node: &NodeProto, name: &str) -> Result<usize> {
    let heads = usize::try_from(node.int(name, 0)).ok().filter(|&heads| heads > 0);
    heads.ok_or_else(|| node.error(format!("with three axes it wants {name} above 0")))
}

/// `[batch, places, heads * length]` as `[batch, heads, places, length]`; four axes stay as they are.
fn apart(tape: &mut Tape<'_>, value: &str, heads: usize) -> Result<String> {
    let length = tape.length(value, 2)? / heads;
    let split = tape.reshape(value, &[0, 0, int(heads), int(length)])?;
    tape.transpose(&split, &[0, 2, 1, 3])
}

/// `y = softmax(scale q k' + mask) v` for each head
fn attention(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    for (input, what) in [(4, "past_key"), (5, "past_value"), (6, "nonpad_kv_seqlen")] {
        if node.given(input).is_some() {
            return Err(node.error(format!("with {what} it cannot be differentiated; export it without a cache")));
        }
    }
    let [query, key, value] = [0, 1, 2].map(|index| node.needed(index).map(str::to_owned));
    let (mut query, mut key, mut value) = (query?, key?, value?);
    let is_flat = tape.rank(&query)? == 3;
    if is_flat {
        let (q_heads, kv_heads) = (heads(node, "q_num_heads")?, heads(node, "kv_num_heads")?);
        query = apart(tape, &query, q_heads)?;
        key = apart(tape, &key, kv_heads)?;
        value = apart(tape, &value, kv_heads)?;
    }
    let (q_heads, kv_heads) = (tape.length(&query, 1)?, tape.length(&key, 1)?);
    if kv_heads == 0 || q_heads % kv_heads != 0 {
        return Err(node.error(format!("its {q_heads} heads of queries are no multiple of {kv_heads} of keys")));
    }
    if q_heads != kv_heads {
        key = repeated(tape, &key, q_heads / kv_heads)?;
        value = repeated(tape, &value, q_heads / kv_heads)?;
    }
    let length = tape.length(&query, 3)?;
    #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52")]
    let default = 1.0 / (length as f64).sqrt();
    let scale = node.attr("scale").map_or(default, |scale| f64::from(scale.f()));
    let scaled = tape.scaled(&query, scale)?;
    let turned = tape.transpose(&key, &[0, 1, 3, 2])?;
    let mut scores = tape.op("MatMul", &[&scaled, &turned])?;
    // Before the mask, whose minus infinity it would lift.
    let softcap = node.float("softcap", 0.0);
    if softcap > 0.0 {
        let small = tape.scaled(&scores, 1.0 / softcap)?;
        let bent = tape.op("Tanh", &[&small])?;
        scores = tape.scaled(&bent, softcap)?;
    }
    if node.int("is_causal", 0) != 0 {
        let mask = causal(tape, &scores)?;
        scores = tape.op("Add", &[&scores, &mask])?;
    }
    if let Some(mask) = node.given(3) {
        let mask = if tape.shapes.element(mask) == Some(Element::Bool) {
            let (zero, far) = (tape.scalar(0.0, &scores)?, tape.scalar(f64::NEG_INFINITY, &scores)?);
            tape.op("Where", &[mask, &zero, &far])?
        } else {
            mask.to_owned()
        };
        scores = tape.op("Add", &[&scores, &mask])?;
    }
    let weights = tape.with("Softmax", &[&scores], vec![attribute("axis", Value::Int(-1))])?;
    let mixed = tape.op("MatMul", &[&weights, &value])?;
    if !is_flat {
        return Ok(mixed);
    }
    let width = int(q_heads * tape.length(&mixed, 3)?);
    let turned = tape.transpose(&mixed, &[0, 2, 1, 3])?;
    tape.reshape(&turned, &[0, 0, width])
}

/// Each head of keys or values as often as there are heads of queries to it.
fn repeated(tape: &mut Tape<'_>, value: &str, times: usize) -> Result<String> {
    let (heads, length) = (tape.length(value, 1)?, tape.length(value, 3)?);
    let spread = tape.unsqueeze(value, &[2])?;
    let copies = vec![spread.as_str(); times];
    let copies = tape.concat(&copies, 2)?;
    // The places are the one length that may not be known beside the batch.
    tape.reshape(&copies, &[0, int(heads * times), -1, int(length)])
}

/// 0 where a key does not come after its query, else minus infinity, `[queries, keys]`.
fn causal(tape: &mut Tape<'_>, scores: &str) -> Result<String> {
    let shape = tape.op("Shape", &[scores])?;
    let square = tape.slice(&shape, 0, (2, 4, 1))?;
    let far = tape.scalar(f64::NEG_INFINITY, scores)?;
    let full = tape.op("Expand", &[&far, &square])?;
    let one = tape.int(1)?;
    tape.with("Trilu", &[&full, &one], vec![attribute("upper", Value::Int(1))])
}

/// Pairs `(a, b)` of each place turned by its angle: `(a cos - b sin, a sin + b cos)`
fn rotary(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let x = node.needed(0)?;
    let is_flat = tape.rank(x)? == 3;
    let value = if is_flat {
        let heads = heads(node, "num_heads")?;
        apart(tape, x, heads)?
    } else {
        x.to_owned()
    };
    let length = int(tape.length(&value, 3)?);
    let turned = match node.int("rotary_embedding_dim", 0) {
        0 => length,
        turned if (2..=length).contains(&turned) => turned,
        turned => return Err(node.error(format!("its rotary_embedding_dim is {turned}, wanted 2 to {length}"))),
    };
    let inner = tape.slice(&value, 3, (0, turned, 1))?;
    let mut angles = [1, 2].map(|index| node.needed(index).map(str::to_owned));
    for angle in &mut angles {
        let mut table = std::mem::replace(angle, Ok(String::new()))?;
        if let Some(places) = node.given(3) {
            table = tape.op("Gather", &[&table, places])?;
        }
        table = tape.slice(&table, 2, (0, turned / 2, 1))?;
        *angle = tape.unsqueeze(&table, &[1]);
    }
    let [cos, sin] = angles;
    let (cos, sin) = (cos?, sin?);
    let interleaved = node.int("interleaved", 0) != 0;
    let (first, second) = if interleaved {
        (tape.slice(&inner, 3, (0, turned, 2))?, tape.slice(&inner, 3, (1, turned, 2))?)
    } else {
        (tape.slice(&inner, 3, (0, turned / 2, 1))?, tape.slice(&inner, 3, (turned / 2, turned, 1))?)
    };
    let [a_cos, b_sin] = [(&first, &cos), (&second, &sin)].map(|(left, right)| tape.op("Mul", &[left, right]));
    let [a_sin, b_cos] = [(&first, &sin), (&second, &cos)].map(|(left, right)| tape.op("Mul", &[left, right]));
    let real = tape.op("Sub", &[&a_cos?, &b_sin?])?;
    let imaginary = tape.op("Add", &[&a_sin?, &b_cos?])?;
    let mut out = if interleaved {
        let (real, imaginary) = (tape.unsqueeze(&real, &[4])?, tape.unsqueeze(&imaginary, &[4])?);
        let pairs = tape.concat(&[&real, &imaginary], 4)?;
        let heads = tape.length(&value, 1)?;
        tape.reshape(&pairs, &[0, int(heads), -1, turned])?
    } else {
        tape.concat(&[&real, &imaginary], 3)?
    };
    if turned < length {
        let rest = tape.slice(&value, 3, (turned, length, 1))?;
        out = tape.concat(&[&out, &rest], 3)?;
    }
    if is_flat {
        let back = tape.transpose(&out, &[0, 2, 1, 3])?;
        let Some(Dim::Known(width)) = tape.shape(x)?.pop() else {
            return Err(node.error("its last length must be known for its gradient"));
        };
        out = tape.reshape(&back, &[0, 0, int(width)])?;
    }
    Ok(out)
}
