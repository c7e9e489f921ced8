//! Convolutions and the operators of their gradients, as several programs of tests have them.

use super::{Input, Numbers, model, numbers, ours};
use pdloss::graph::{
    build::{Dim, Element, Value, attribute, declare, floats, node},
    proto::{AttributeProto, GraphProto, ModelProto, OperatorSetIdProto, TypeProtoValue},
};

pub(crate) const DIM: usize = 3;

/// A convolution, and the images that it sees.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) batch: usize,
    pub(crate) channels: [usize; 2],
    pub(crate) group: usize,
    pub(crate) lengths: Vec<usize>,
    pub(crate) kernel: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) dilations: Vec<usize>,
    /// In front of each axis, then behind each.
    pub(crate) pads: Vec<usize>,
}

impl Case {
    pub(crate) fn new(batch: usize, channels: [usize; 2], group: usize, lengths: &[usize], kernel: &[usize]) -> Self {
        let axes = lengths.len();
        let (lengths, kernel) = (lengths.to_vec(), kernel.to_vec());
        let (strides, dilations, pads) = (vec![1; axes], vec![1; axes], vec![0; 2 * axes]);
        Self { batch, channels, group, lengths, kernel, strides, dilations, pads }
    }

    pub(crate) fn strides(self, strides: &[usize]) -> Self {
        Self { strides: strides.to_vec(), ..self }
    }

    pub(crate) fn dilations(self, dilations: &[usize]) -> Self {
        Self { dilations: dilations.to_vec(), ..self }
    }

    pub(crate) fn pads(self, pads: &[usize]) -> Self {
        Self { pads: pads.to_vec(), ..self }
    }

    pub(crate) fn attributes(&self) -> Vec<AttributeProto> {
        let ints = |name, values: &[usize]| attribute(name, Value::Ints(values.iter().map(|&v| v as i64).collect()));
        vec![
            ints("kernel_shape", &self.kernel),
            ints("strides", &self.strides),
            ints("dilations", &self.dilations),
            ints("pads", &self.pads),
            attribute("group", Value::Int(self.group as i64)),
        ]
    }

    /// With what of the images no window meets.
    pub(crate) fn with_rest(&self) -> Vec<AttributeProto> {
        let (axes, places) = (self.lengths.len(), self.places());
        let rest = (0..axes).map(|axis| {
            let met = (places[axis] - 1) * self.strides[axis] + (self.kernel[axis] - 1) * self.dilations[axis] + 1;
            (self.lengths[axis] + self.pads[axis] + self.pads[axis + axes] - met) as i64
        });
        let rest = attribute("output_padding", Value::Ints(rest.collect()));
        self.attributes().into_iter().chain([rest]).collect()
    }

    pub(crate) fn places(&self) -> Vec<usize> {
        let axes = self.lengths.len();
        let place = |axis: usize| {
            let reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1;
            (self.lengths[axis] + self.pads[axis] + self.pads[axis + axes] - reach) / self.strides[axis] + 1
        };
        (0..axes).map(place).collect()
    }

    pub(crate) fn x(&self) -> Vec<usize> {
        [&[self.batch, self.channels[0]], self.lengths.as_slice()].concat()
    }

    pub(crate) fn y(&self) -> Vec<usize> {
        [&[self.batch, self.channels[1]], self.places().as_slice()].concat()
    }

    /// Whether cuDNN has it, which pads both ends alike, and puts windows wherever they fit.
    pub(crate) fn is_of_cudnn(&self) -> bool {
        let places = self.places();
        (0..self.lengths.len()).all(|axis| {
            let met = (places[axis] - 1) * self.strides[axis] + (self.kernel[axis] - 1) * self.dilations[axis] + 1;
            let padded = self.lengths[axis] + 2 * self.pads[axis];
            padded.checked_sub(met).is_some_and(|rest| rest < self.strides[axis])
        })
    }

    pub(crate) fn weights(&self) -> Vec<usize> {
        [&[self.channels[1], self.channels[0] / self.group], self.kernel.as_slice()].concat()
    }

    /// Calls `each` with every element of `y`, and the elements of `x` and the weights that it has a product of.
    pub(crate) fn products(&self, mut each: impl FnMut(usize, usize, usize)) {
        let two = |values: &[usize], filling: usize| match *values {
            [one] => [filling, one],
            [one, other] => [one, other],
            _ => unreachable!("one or two axes"),
        };
        let axes = self.lengths.len();
        let (lengths, places, kernel) = (two(&self.lengths, 1), two(&self.places(), 1), two(&self.kernel, 1));
        let (strides, dilations, pads) = (two(&self.strides, 1), two(&self.dilations, 1), two(&self.pads[..axes], 0));
        let [each_in, each_out] = self.channels.map(|channels| channels / self.group);
        for image in 0..self.batch {
            for (of_y, of_x) in (0..self.channels[1]).flat_map(|of_y| (0..each_in).map(move |of_x| (of_y, of_x))) {
                let plane = image * self.channels[0] + of_y / each_out * each_in + of_x;
                for tap in 0..kernel[0] * kernel[1] {
                    for place in 0..places[0] * places[1] {
                        let at = |axis: usize, place: usize, tap: usize| {
                            let at = place * strides[axis] + tap * dilations[axis];
                            at.checked_sub(pads[axis]).filter(|&at| at < lengths[axis])
                        };
                        let row = at(0, place / places[1], tap / kernel[1]);
                        let column = at(1, place % places[1], tap % kernel[1]);
                        if let (Some(row), Some(column)) = (row, column) {
                            each(
                                (image * self.channels[1] + of_y) * places[0] * places[1] + place,
                                (plane * lengths[0] + row) * lengths[1] + column,
                                (of_y * each_in + of_x) * kernel[0] * kernel[1] + tap,
                            );
                        }
                    }
                }
            }
        }
    }
}

/// A pointwise layer, the convolution, a linear layer. The convolution turned round, if `back`.
pub(crate) fn backbone(case: &Case, back: bool) -> ModelProto {
    let element = Element::F32;
    let batch = Dim::Named("batch".to_owned());
    let images = if back { case.y() } else { case.x() };
    let made = if back { case.x() } else { case.y() };
    let lengths = images[1..].iter().map(|&length| Dim::Known(length));
    let first: Vec<usize> = [images[1], images[1]].into_iter().chain(images[2..].iter().map(|_| 1)).collect();
    let drawn = |name: &str, shape: &[usize], seed| {
        let count = shape.iter().product::<usize>();
        // In the size that keeps numbers near one.
        let scale = (shape[1..].iter().product::<usize>() as f64).sqrt();
        let values: Vec<f64> = numbers(count + 1, seed)[..count].iter().map(|value| value / scale).collect();
        floats(name, element, shape, &values)
    };
    let width = made[1..].iter().product();
    let attributes = if back { case.with_rest() } else { case.attributes() };
    // The bias has its gradient from onnxruntime's `ReduceSum`, whose bits follow from the number of threads where images are large.
    let is_small = case.lengths.iter().product::<usize>() < 500;
    let inputs = if is_small { &["x", "weights", "bias"][..] } else { &["x", "weights"] };
    let mut graph = GraphProto {
        name: Some("convolution".to_owned()),
        input: vec![declare("images", element, &std::iter::once(batch.clone()).chain(lengths).collect::<Vec<_>>())],
        output: vec![declare("features", element, &[batch, Dim::Known(DIM)])],
        node: vec![
            node("Conv", &["images", "first"], &["x"], Vec::new()),
            node(if back { "ConvTranspose" } else { "Conv" }, inputs, &["y"], attributes),
            node("Flatten", &["y"], &["rows"], Vec::new()),
            node("Gemm", &["rows", "last"], &["features"], vec![attribute("transB", Value::Int(1))]),
        ],
        initializer: vec![
            drawn("first", &first, 1),
            drawn("weights", &case.weights(), 2),
            floats("bias", element, &[made[1]], &numbers(made[1] + 1, 3)[..made[1]]),
            drawn("last", &[DIM, width], 4),
        ],
        ..GraphProto::default()
    };
    if !is_small {
        graph.initializer.retain(|tensor| tensor.name() != "bias");
    }
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(17) };
    ModelProto { ir_version: Some(8), opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
}

/// One operator alone, with nothing declared of shapes.
pub(crate) fn alone(
    operator: &str,
    (inputs, output): ([&'static str; 2], &str),
    (element, attributes): (Element, Vec<AttributeProto>),
) -> ModelProto {
    let undeclared = |name: &str| {
        let mut value = declare(name, element, &[]);
        if let Some(TypeProtoValue::TensorType(tensor)) = value.r#type.as_mut().and_then(|of| of.value.as_mut()) {
            tensor.shape = None;
        }
        value
    };
    model(GraphProto {
        name: Some("alone".to_owned()),
        node: vec![ours(operator, &inputs, &[output], attributes)],
        input: inputs.iter().map(|name| undeclared(name)).collect(),
        output: vec![undeclared(output)],
        ..GraphProto::default()
    })
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the type is the purpose")]
pub(crate) fn given(name: &'static str, element: Element, shape: &[usize], values: &[f64]) -> Input {
    let values = match element {
        Element::F64 => Numbers::F64(values.to_vec()),
        _ => Numbers::F32(values.iter().map(|&value| value as f32).collect()),
    };
    (name, shape.to_vec(), values)
}

/// Numbers that float32 holds.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
pub(crate) fn drawn(shape: &[usize], seed: u64) -> Vec<f64> {
    let count = shape.iter().product::<usize>();
    numbers(count + 1, seed)[..count].iter().map(|&value| f64::from(value as f32)).collect()
}
