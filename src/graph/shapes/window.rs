//! Convolutions and pools: what slides a window over the axes behind batch and channels.

use super::{Inferred, Shapes, dims, one};
use crate::graph::{
    build::{Dim, Element, Value, attribute, int},
    proto::{AttributeProto, NodeProto},
};

/// The window of a node, with every attribute's default filled in and `auto_pad` resolved where lengths are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) dilations: Vec<usize>,
    /// In front of each axis.
    pub(crate) begin: Vec<usize>,
    /// Behind each axis.
    pub(crate) end: Vec<usize>,
    pub(crate) ceil: bool,
}

impl Window {
    /// The window of a convolution or pool over `lengths` (the axes behind batch and channels); `kernel` where the node's
    /// weights tell it.
    pub(crate) fn of(node: &NodeProto, kernel: Option<Vec<usize>>, lengths: &[Dim]) -> Result<Self, String> {
        let rank = lengths.len();
        let read = |name: &str, default: usize, count: usize| match node.ints(name) {
            None => Ok(vec![default; count]),
            Some(values) => {
                let sizes: Option<Vec<usize>> = values.iter().map(|&value| length_of(value)).collect();
                let fits = sizes.filter(|sizes| sizes.len() == count);
                fits.ok_or_else(|| format!("attribute {name} is {values:?}, wanted {count} lengths from 0 to 2^31"))
            }
        };
        let kernel = match kernel {
            Some(kernel) if kernel.len() != rank => {
                return Err(format!("its kernel has {} axes, the image {rank}", kernel.len()));
            }
            Some(kernel) => kernel,
            None => read("kernel_shape", 0, rank)?,
        };
        let (strides, dilations) = (read("strides", 1, rank)?, read("dilations", 1, rank)?);
        if kernel.contains(&0) || strides.contains(&0) || dilations.contains(&0) {
            return Err("attributes kernel_shape, strides and dilations must not hold 0".to_owned());
        }
        let mut pads = read("pads", 0, 2 * rank)?;
        let auto = node.text("auto_pad", "NOTSET");
        if matches!(auto, "SAME_UPPER" | "SAME_LOWER") {
            for axis in 0..rank {
                let reach = (kernel[axis] - 1) * dilations[axis] + 1;
                let whole = match &lengths[axis] {
                    Dim::Known(length) => {
                        let steps = length.div_ceil(strides[axis]);
                        let covered = dims::times(steps.saturating_sub(1), strides[axis])?;
                        dims::plus(covered, reach)?.saturating_sub(*length)
                    }
                    _ if strides[axis] == 1 => reach - 1,
                    _ => return Err(format!("auto_pad {auto} with strides needs a known length; write pads instead")),
                };
                let (small, large) = (whole / 2, whole.div_ceil(2));
                (pads[axis], pads[axis + rank]) = if auto == "SAME_UPPER" { (small, large) } else { (large, small) };
            }
        }
        let end = pads.split_off(rank);
        Ok(Self { kernel, strides, dilations, begin: pads, end, ceil: node.int("ceil_mode", 0) != 0 })
    }

    /// How far the window reaches along an axis.
    pub(crate) fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilations[axis] + 1
    }

    /// Whether cuDNN computes a convolution with so many elements and places along this axis. It pads both ends alike, and knows no
    /// fewer places than fit.
    pub(crate) fn is_of_cudnn(&self, axis: usize, (length, places): (usize, usize)) -> bool {
        let met = places.saturating_sub(1).saturating_mul(self.strides[axis]).saturating_add(self.reach(axis));
        let padded = length.saturating_add(self.begin[axis].saturating_mul(2));
        places > 0 && padded.checked_sub(met).is_some_and(|rest| rest < self.strides[axis])
    }

    /// As the attributes that nodes have.
    pub(crate) fn attributes(&self) -> Vec<AttributeProto> {
        let ints =
            |name, values: &[usize]| attribute(name, Value::Ints(values.iter().map(|&value| int(value)).collect()));
        vec![
            ints("kernel_shape", &self.kernel),
            ints("strides", &self.strides),
            ints("dilations", &self.dilations),
            ints("pads", &[self.begin.as_slice(), &self.end].concat()),
        ]
    }

    /// How many places it has along an axis of this length.
    pub(crate) fn places(&self, axis: usize, length: usize) -> Result<usize, String> {
        let padded = dims::plus(dims::plus(length, self.begin[axis])?, self.end[axis])?;
        let Some(room) = padded.checked_sub(self.reach(axis)) else {
            return Err(format!("the window reaches over {}, but the padded length is {padded}", self.reach(axis)));
        };
        let stride = self.strides[axis];
        let mut places = room / stride + 1;
        // A last, partial window counts only where it starts inside the input or in the padding before it.
        if self.ceil && room % stride != 0 && dims::times(places, stride)? < length + self.begin[axis] {
            places += 1;
        }
        Ok(places)
    }
}

/// A length from an attribute; none above 2^31, so that products of two cannot overflow.
fn length_of(value: i64) -> Option<usize> {
    usize::try_from(i32::try_from(value).ok()?).ok()
}

pub(super) fn infer(shapes: &Shapes, node: &NodeProto) -> Inferred {
    let first = shapes.of_input(node, 0);
    let Some(shape) = first.shape else { return one(first.element, None) };
    if shape.len() < 3 {
        return Err(format!("wanted [batch, channels, length, ...], got {} axes", shape.len()));
    }
    let (batch, lengths) = (shape[0].clone(), &shape[2..]);
    let mut out = vec![batch];
    match node.op_type() {
        "GlobalAveragePool" | "GlobalLpPool" | "GlobalMaxPool" => {
            out.push(shape[1].clone());
            out.extend(lengths.iter().map(|_| Dim::Known(1)));
        }
        "Conv" | "WinogradConv" => {
            let Some((channels, kernel)) = weights(shapes, node) else { return one(first.element, None) };
            let window = Window::of(node, Some(kernel), lengths)?;
            out.push(channels[0].clone());
            for (axis, length) in lengths.iter().enumerate() {
                out.push(slide(&window, axis, length)?);
            }
        }
        "ConvTranspose" => {
            let Some((channels, kernel)) = weights(shapes, node) else { return one(first.element, None) };
            let group = usize::try_from(node.int("group", 1)).unwrap_or(1);
            out.push(if let Dim::Known(each) = channels[1] {
                Dim::Known(dims::times(each, group)?)
            } else {
                Dim::Unknown
            });
            let window = Window::of(node, Some(kernel), lengths)?;
            let extra = node.ints("output_padding").map(<[i64]>::to_vec);
            for (axis, length) in lengths.iter().enumerate() {
                let Dim::Known(length) = length else {
                    out.push(Dim::Unknown);
                    continue;
                };
                let extra = extra.as_ref().and_then(|extra| usize::try_from(*extra.get(axis)?).ok()).unwrap_or(0);
                let moved = dims::times(length.saturating_sub(1), window.strides[axis])?;
                let whole = dims::plus(dims::plus(moved, window.reach(axis))?, extra)?;
                out.push(Dim::Known(whole.saturating_sub(window.begin[axis] + window.end[axis])));
            }
        }
        _ => {
            let window = Window::of(node, None, lengths)?;
            out.push(shape[1].clone());
            for (axis, length) in lengths.iter().enumerate() {
                out.push(slide(&window, axis, length)?);
            }
            if node.op_type() == "MaxPool" {
                let fact = |element| super::Fact { element, shape: Some(out.clone()), value: None };
                return Ok(Some(vec![fact(first.element), fact(Some(Element::I64))]));
            }
        }
    }
    one(first.element, Some(out))
}

/// The first two lengths of a convolution's weights, and its kernel.
fn weights(shapes: &Shapes, node: &NodeProto) -> Option<(Vec<Dim>, Vec<usize>)> {
    let shape = shapes.of_input(node, 1).shape?;
    let known = |dim: &Dim| if let Dim::Known(length) = dim { Some(*length) } else { None };
    let kernel = shape.get(2..)?.iter().map(known).collect::<Option<_>>()?;
    Some((shape[..2].to_vec(), kernel))
}

fn slide(window: &Window, axis: usize, length: &Dim) -> Result<Dim, String> {
    match length {
        Dim::Known(length) => window.places(axis, *length).map(Dim::Known),
        // A window that moves one by one and is padded by what it covers keeps any length.
        dim if window.strides[axis] == 1 && window.begin[axis] + window.end[axis] + 1 == window.reach(axis) => {
            Ok(dim.clone())
        }
        _ => Ok(Dim::Unknown),
    }
}
