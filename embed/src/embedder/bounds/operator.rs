//! The shape that a node's first output has, operator by operator.

use std::collections::HashMap;

use tract_onnx::pb::{AttributeProto, NodeProto};

use super::known::{FOLLOWED, Known, of_tensor};

/// A size out of a constant: what is negative or none is nothing.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, which is what is meant
fn size(value: f64) -> u128 {
    value.max(0.0) as u128
}

/// The shape of two tensors brought together; unequal dimensions take the larger.
fn broadcast(a: &[u128], b: &[u128]) -> Vec<u128> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let skip = long.len() - short.len();
    long.iter().enumerate().map(|(at, &dim)| if at < skip { dim } else { dim.max(short[at - skip]) }).collect()
}

/// One node among what is known.
pub(super) struct Operator<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) known: &'a HashMap<&'a str, Known>,
}

impl Operator<'_> {
    fn input(&self, at: usize) -> Option<&Known> {
        self.node.input.get(at).and_then(|name| self.known.get(name.as_str()))
    }

    fn shape(&self, at: usize) -> Option<&Vec<u128>> {
        self.input(at).map(|known| &known.shape)
    }

    fn values(&self, at: usize) -> Option<&Vec<f64>> {
        self.input(at).and_then(|known| known.values.as_ref())
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    /// Numbers by attribute, else by input.
    #[allow(clippy::cast_precision_loss)] // as above
    fn numbers(&self, name: &str, at: usize) -> Option<Vec<f64>> {
        match self.attribute(name) {
            Some(a) if a.ints.is_empty() => Some(a.floats.iter().map(|&v| f64::from(v)).collect()),
            Some(a) => Some(a.ints.iter().map(|&v| v as f64).collect()),
            None => self.values(at).cloned(),
        }
    }

    /// A position among `rank`, counted from the end where negative.
    fn axis(&self, axis: i64, rank: usize) -> Option<usize> {
        let from_start = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
        usize::try_from(from_start).ok().filter(|&at| at < rank)
    }

    /// The first output, where the operator is known and enough of its inputs is.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // as above
    pub(super) fn result(&self) -> Option<Known> {
        let op = self.node.op_type.as_str();
        if !["", "ai.onnx"].contains(&self.node.domain.as_str()) {
            return None;
        }
        Some(match op {
            "Constant" => self.constant()?,
            "ConstantOfShape" => Known::of(self.values(0)?.iter().map(|&v| size(v)).collect()),
            "Range" => {
                let [from, to, step] = [0, 1, 2].map(|at| self.values(at).and_then(|v| v.first().copied()));
                Known::of(vec![size(((to? - from?) / step?).ceil())])
            }
            "Shape" => {
                let shape = self.shape(0)?;
                // From opset 15 on it may be asked for some axes, as PyTorch's newer exporter asks for the batch alone.
                let place = |name: &str, usual: usize| match self.attribute(name).map(|a| a.i) {
                    None => usual,
                    Some(at) => {
                        usize::try_from(if at < 0 { at + shape.len() as i64 } else { at }).unwrap_or(0).min(shape.len())
                    }
                };
                let (start, end) = (place("start", 0), place("end", shape.len()));
                Known::vector(shape.get(start..end).unwrap_or_default().iter().map(|&dim| dim as f64).collect())
            }
            "Identity" | "Cast" => self.input(0)?.clone(),
            "Squeeze" | "Unsqueeze" if self.values(0).is_some() => Known::vector(self.values(0)?.clone()),
            "Expand" => {
                Known::of(broadcast(self.shape(0)?, &self.values(1)?.iter().map(|&v| size(v)).collect::<Vec<_>>()))
            }
            "Tile" => {
                let repeats = self.values(1)?;
                let times = |(&dim, &n): (&u128, &f64)| dim.saturating_mul(size(n));
                Known::of(self.shape(0)?.iter().zip(repeats).map(times).collect())
            }
            "Pad" => self.padded()?,
            "Concat" => self.concatenated()?,
            "Gather" => self.gathered()?,
            "Slice" => self.sliced()?,
            "Reshape" => self.reshaped()?,
            "Flatten" => {
                let shape = self.shape(0)?;
                let axis = self.attribute("axis").map_or(1, |a| a.i);
                let (rows, columns) = shape.split_at(self.axis(axis, shape.len() + 1)?);
                Known::of([rows, columns].map(|dims| dims.iter().fold(1, |n: u128, &d| n.saturating_mul(d))).to_vec())
            }
            "Split" => {
                let mut shape = self.shape(0)?.clone();
                let axis = self.axis(self.attribute("axis").map_or(0, |a| a.i), shape.len())?;
                let parts = self.node.output.len() as u128;
                shape[axis] = match self.numbers("split", 1) {
                    Some(sizes) => size(*sizes.first().filter(|first| sizes.iter().all(|s| s == *first))?),
                    None => Some(shape[axis] / parts).filter(|part| part * parts == shape[axis])?,
                };
                Known::of(shape)
            }
            "Transpose" => {
                let shape = self.shape(0)?;
                let reversed: Vec<i64> = (0..shape.len() as i64).rev().collect();
                let perm = self.attribute("perm").map_or(&reversed, |a| &a.ints);
                Known::of(perm.iter().map(|&p| shape.get(usize::try_from(p).ok()?).copied()).collect::<Option<_>>()?)
            }
            "OneHot" => {
                let mut shape = self.shape(0)?.clone();
                shape.push(size(*self.values(1)?.first()?));
                Known::of(shape)
            }
            "Resize" | "Upsample" => {
                let at = self.node.input.len().checked_sub(1)?;
                let (numbers, is_size) = (self.numbers("scales", at)?, at == 3);
                let shape = self.shape(0)?;
                if numbers.len() != shape.len() {
                    return None; // given for some axes, or not at all
                }
                let scaled = |(&dim, &n): (&u128, &f64)| if is_size { size(n) } else { size(dim as f64 * n) };
                Known::of(shape.iter().zip(&numbers).map(scaled).collect())
            }
            "MatMul" | "MatMulInteger" | "Gemm" => self.product()?,
            "Conv" | "ConvInteger" => self.convolved(self.shape(1)?)?,
            "MaxPool" | "AveragePool" | "LpPool" => {
                let channels = *self.shape(0)?.get(1)?;
                let kernel = self.attribute("kernel_shape")?.ints.iter().map(|&k| u128::try_from(k).unwrap_or(0));
                self.convolved(&[channels, 1].into_iter().chain(kernel).collect::<Vec<_>>())?
            }
            "GlobalAveragePool" | "GlobalMaxPool" => {
                Known::of(self.shape(0)?.iter().enumerate().map(|(at, &dim)| if at < 2 { dim } else { 1 }).collect())
            }
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Max" | "Min" | "Sum" | "Mean" | "Where" | "Equal" | "Less"
            | "Greater" | "And" | "Or" | "PRelu" | "Mod" => self.elementwise(op)?,
            "Relu"
            | "LeakyRelu"
            | "Sigmoid"
            | "HardSigmoid"
            | "HardSwish"
            | "Tanh"
            | "Erf"
            | "Gelu"
            | "Exp"
            | "Log"
            | "Sqrt"
            | "Abs"
            | "Neg"
            | "Clip"
            | "Floor"
            | "Ceil"
            | "Round"
            | "Reciprocal"
            | "Softmax"
            | "LogSoftmax"
            | "Softplus"
            | "Elu"
            | "Selu"
            | "Celu"
            | "Not"
            | "BatchNormalization"
            | "InstanceNormalization"
            | "LayerNormalization"
            | "GroupNormalization"
            | "LpNormalization"
            | "LRN"
            | "Dropout"
            | "QuantizeLinear"
            | "DequantizeLinear"
            | "CumSum" => Known::of(self.shape(0)?.clone()),
            _ => return None,
        })
    }

    #[allow(clippy::cast_precision_loss)] // as above
    fn constant(&self) -> Option<Known> {
        let attribute = self.node.attribute.first()?;
        Some(match attribute.name.as_str() {
            "value" => of_tensor(attribute.t.as_ref()?),
            "value_int" => Known::vector(vec![attribute.i as f64]),
            "value_float" => Known::vector(vec![attribute.f.into()]),
            "value_ints" => Known::vector(attribute.ints.iter().map(|&v| v as f64).collect()),
            "value_floats" => Known::vector(attribute.floats.iter().map(|&v| v.into()).collect()),
            _ => return None,
        })
    }

    #[allow(clippy::cast_possible_truncation)] // as above
    fn padded(&self) -> Option<Known> {
        let mut shape = self.shape(0)?.clone();
        let pads = self.numbers("pads", 1)?;
        let axes = match self.values(3) {
            Some(axes) => axes.iter().map(|&a| self.axis(a as i64, shape.len())).collect::<Option<Vec<_>>>()?,
            None => (0..shape.len()).collect(),
        };
        for (at, axis) in axes.iter().enumerate() {
            let (before, after) = (pads.get(at)?, pads.get(at + axes.len())?);
            let added = size(*before).saturating_add(size(*after));
            shape[*axis] =
                shape[*axis].saturating_add(added).saturating_sub(size(-before).saturating_add(size(-after)));
        }
        Some(Known::of(shape))
    }

    fn concatenated(&self) -> Option<Known> {
        let parts: Vec<&Known> = (0..self.node.input.len()).map(|at| self.input(at)).collect::<Option<_>>()?;
        let mut shape = parts.first()?.shape.clone();
        let axis = self.axis(self.attribute("axis").map_or(0, |a| a.i), shape.len())?;
        let sizes = parts.iter().map(|part| part.shape.get(axis).copied()).collect::<Option<Vec<u128>>>()?;
        shape[axis] = sizes.into_iter().fold(0, u128::saturating_add);
        let values: Option<Vec<f64>> =
            parts.iter().map(|part| part.values.clone()).collect::<Option<Vec<_>>>().map(|v| v.concat());
        Some(Known { values: values.filter(|v| v.len() <= FOLLOWED), ..Known::of(shape) })
    }

    #[allow(clippy::cast_possible_truncation)] // as above
    fn gathered(&self) -> Option<Known> {
        let (data, indices) = (self.input(0)?, self.input(1)?);
        let axis = self.axis(self.attribute("axis").map_or(0, |a| a.i), data.shape.len())?;
        let shape = [&data.shape[..axis], &indices.shape, &data.shape[axis + 1..]].concat();
        let pick = |values: &Vec<f64>, places: &Vec<f64>| {
            let value = |&p: &f64| values.get(self.axis(p as i64, values.len())?).copied();
            places.iter().map(value).collect::<Option<Vec<f64>>>()
        };
        let values = data.values.as_ref().zip(indices.values.as_ref()).filter(|_| data.shape.len() == 1);
        Some(Known { values: values.and_then(|(v, p)| pick(v, p)), ..Known::of(shape) })
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // as above
    fn sliced(&self) -> Option<Known> {
        let mut shape = self.shape(0)?.clone();
        let (starts, ends) = (self.numbers("starts", 1)?, self.numbers("ends", 2)?);
        let axes = self.numbers("axes", 3).unwrap_or_else(|| (0..starts.len()).map(|at| at as f64).collect());
        if self.node.input.len() > 4 && self.values(4)?.iter().any(|&step| step != 1.0) {
            return None;
        }
        let mut values = self.values(0).filter(|_| shape.len() == 1).cloned();
        for ((start, end), axis) in starts.iter().zip(&ends).zip(&axes) {
            let axis = self.axis(*axis as i64, shape.len())?;
            let length = shape[axis] as f64;
            let place = |v: f64| if v < 0.0 { v + length } else { v }.clamp(0.0, length);
            let (from, to) = (place(*start), place(*end));
            shape[axis] = size(to - from);
            values = values.and_then(|v| v.get(from as usize..to as usize).map(<[f64]>::to_vec));
        }
        Some(Known { values, ..Known::of(shape) })
    }

    fn reshaped(&self) -> Option<Known> {
        let input = self.input(0)?;
        let count = input.count();
        let wanted = self.values(1)?;
        let mut shape: Vec<u128> = wanted
            .iter()
            .enumerate()
            .map(|(at, &v)| if v == 0.0 { input.shape.get(at).copied().unwrap_or(1) } else { size(v) })
            .collect();
        let rest = wanted.iter().position(|&v| v < 0.0);
        if let Some(at) = rest {
            shape[at] = 1;
            let others = shape.iter().fold(1, |product: u128, &dim| product.saturating_mul(dim)).max(1);
            shape[at] = count.div_ceil(others);
        }
        Some(Known { values: input.values.clone(), ..Known::of(shape) })
    }

    fn product(&self) -> Option<Known> {
        let (a, b) = (self.shape(0)?, self.shape(1)?);
        let transposed = |name: &str| self.attribute(name).is_some_and(|a| a.i != 0);
        let (rows, columns) = match (a.as_slice(), b.as_slice()) {
            ([.., rows, inner], [.., first, columns]) => (
                if transposed("transA") { *inner } else { *rows },
                if transposed("transB") { *first } else { *columns },
            ),
            _ => return None,
        };
        let mut shape = broadcast(&a[..a.len() - 2], &b[..b.len() - 2]);
        shape.extend([rows, columns]);
        Some(Known::of(shape))
    }

    /// `kernel` is `[channels out, channels in, sides...]`.
    fn convolved(&self, kernel: &[u128]) -> Option<Known> {
        let image = self.shape(0)?;
        let numbers = |name: &str, at: usize, usual: u128| {
            self.attribute(name).and_then(|a| a.ints.get(at)).map_or(usual, |&v| u128::try_from(v).unwrap_or(0))
        };
        let axes = kernel.len().checked_sub(2).filter(|&axes| image.len() == axes + 2)?;
        let automatic = self.attribute("auto_pad").is_some_and(|a| a.s.starts_with(b"SAME"));
        let side = |at: usize| {
            let pads = numbers("pads", at, 0).saturating_add(numbers("pads", at + axes, 0));
            let reach = kernel[at + 2].saturating_sub(1).saturating_mul(numbers("dilations", at, 1)).saturating_add(1);
            let stride = numbers("strides", at, 1).max(1);
            if automatic {
                return image[at + 2].div_ceil(stride);
            }
            let way = image[at + 2].saturating_add(pads).saturating_sub(reach);
            if self.attribute("ceil_mode").is_some_and(|a| a.i != 0) {
                way.div_ceil(stride) + 1
            } else {
                way / stride + 1
            }
        };
        Some(Known::of([image[0], kernel[0]].into_iter().chain((0..axes).map(side)).collect()))
    }

    fn elementwise(&self, op: &str) -> Option<Known> {
        let inputs: Vec<&Known> = (0..self.node.input.len()).map(|at| self.input(at)).collect::<Option<_>>()?;
        let shape = inputs.iter().fold(Vec::new(), |shape, input| broadcast(&shape, &input.shape));
        let values = match inputs.as_slice() {
            [Known { values: Some(a), .. }, Known { values: Some(b), .. }] if !a.is_empty() && !b.is_empty() => {
                let calculate: Option<fn(f64, f64) -> f64> = match op {
                    "Add" => Some(|a, b| a + b),
                    "Sub" => Some(|a, b| a - b),
                    "Mul" => Some(|a, b| a * b),
                    "Div" => Some(|a, b| a / b),
                    _ => None,
                };
                let fits = a.len() == b.len() || a.len() == 1 || b.len() == 1;
                let both = |at: usize| (a[at.min(a.len() - 1)], b[at.min(b.len() - 1)]);
                calculate.filter(|_| fits).map(|f| (0..a.len().max(b.len())).map(both).map(|(a, b)| f(a, b)).collect())
            }
            _ => None,
        };
        Some(Known { values, ..Known::of(shape) })
    }
}
