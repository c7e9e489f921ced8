//! Small models, and their gradients against central differences.

use pdloss::graph::{
    build::{Dim, Element, Value, attribute, declare, floats, integers, node},
    gradient::differentiate,
    proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto},
    shapes::Shapes,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use crate::runtime::{Array, Arrays, Numbers, open, run};

/// A graph under test: named inputs with values, constants, nodes; the last node's first output is differentiated.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) opset: i64,
    pub(crate) element: Element,
    /// Every input of floats, with its values; all of them get gradients.
    pub(crate) inputs: Vec<(String, Vec<usize>, Vec<f64>)>,
    /// Inputs of integers.
    pub(crate) indices: Vec<(String, Vec<usize>, Vec<i64>)>,
    pub(crate) constants: Vec<TensorProto>,
    pub(crate) nodes: Vec<NodeProto>,
    /// Declares first lengths by a name instead of a number.
    pub(crate) symbolic: bool,
    /// Declares the number of axes alone.
    pub(crate) loose: bool,
    /// The step of the differences, and how far the gradient may be from them, relative to its largest element.
    pub(crate) step: f64,
    pub(crate) budget: f64,
}

impl Case {
    pub(crate) fn new(name: &str, element: Element) -> Self {
        // In float64 the five-point formula is exact to about 1e-10 at this step. In float32 outputs carry errors of 1e-7,
        // which the step divides.
        let (step, budget) = if element == Element::F64 { (1e-3, 1e-6) } else { (2e-2, 2e-3) };
        Self {
            name: name.to_owned(),
            opset: 17,
            element,
            inputs: Vec::new(),
            indices: Vec::new(),
            constants: Vec::new(),
            nodes: Vec::new(),
            symbolic: false,
            loose: false,
            step,
            budget,
        }
    }

    /// An input of random numbers from the interval.
    pub(crate) fn input(mut self, name: &str, shape: &[usize], from: f64, to: f64) -> Self {
        let mut random = Pcg64::seed_from_u64(self.inputs.len() as u64 + 17);
        let count = shape.iter().product();
        let values = (0..count).map(|_| from + (to - from) * random.random::<f64>()).collect();
        self.inputs.push((name.to_owned(), shape.to_vec(), values));
        self
    }

    /// An input of numbers that keep their distance from one another and from 0, in random order: for operators with corners.
    pub(crate) fn apart(mut self, name: &str, shape: &[usize], distance: f64) -> Self {
        let mut random = Pcg64::seed_from_u64(self.inputs.len() as u64 + 99);
        let count: usize = shape.iter().product();
        let mut values: Vec<f64> =
            (0..count).map(|index| (index as f64 - (count / 2) as f64 + 0.3) * distance).collect();
        for index in (1..count).rev() {
            values.swap(index, random.random_range(0..=index));
        }
        self.inputs.push((name.to_owned(), shape.to_vec(), values));
        self
    }

    pub(crate) fn given(mut self, name: &str, shape: &[usize], values: &[f64]) -> Self {
        self.inputs.push((name.to_owned(), shape.to_vec(), values.to_vec()));
        self
    }

    pub(crate) fn index(mut self, name: &str, shape: &[usize], values: &[i64]) -> Self {
        self.indices.push((name.to_owned(), shape.to_vec(), values.to_vec()));
        self
    }

    pub(crate) fn ints(mut self, name: &str, values: &[i64]) -> Self {
        self.constants.push(integers(name, &[values.len()], values));
        self
    }

    pub(crate) fn int(mut self, name: &str, value: i64) -> Self {
        self.constants.push(integers(name, &[], &[value]));
        self
    }

    pub(crate) fn number(mut self, name: &str, value: f64) -> Self {
        self.constants.push(floats(name, self.element, &[], &[value]));
        self
    }

    /// Constants that are float32 whatever the inputs are, as scales and regions.
    pub(crate) fn numbers(mut self, name: &str, values: &[f64]) -> Self {
        self.constants.push(floats(name, Element::F32, &[values.len()], values));
        self
    }

    pub(crate) fn constant(mut self, name: &str, shape: &[usize], values: &[f64]) -> Self {
        self.constants.push(floats(name, self.element, shape, values));
        self
    }

    pub(crate) fn op(self, operator: &str, inputs: &[&str], output: &str, attributes: &[(&str, Value)]) -> Self {
        self.ops(operator, inputs, &[output], attributes)
    }

    pub(crate) fn ops(
        mut self,
        operator: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Value)],
    ) -> Self {
        let attributes = attributes.iter().map(|(name, value)| attribute(name, value.clone())).collect();
        self.nodes.push(node(operator, inputs, outputs, attributes));
        self
    }

    pub(crate) fn domain(mut self, domain: &str) -> Self {
        self.nodes.last_mut().unwrap().domain = Some(domain.to_owned());
        self
    }

    pub(crate) fn opset(mut self, opset: i64) -> Self {
        self.opset = opset;
        self
    }

    pub(crate) fn symbolic(mut self) -> Self {
        self.symbolic = true;
        self
    }

    pub(crate) fn loose(mut self) -> Self {
        self.loose = true;
        self
    }

    pub(crate) fn budget(mut self, step: f64, budget: f64) -> Self {
        (self.step, self.budget) = (step, budget);
        self
    }

    fn declarations(&self) -> Vec<ValueInfoProto> {
        let shape = |lengths: &[usize]| -> Vec<Dim> {
            let mut dims: Vec<Dim> = lengths.iter().map(|&length| Dim::Known(length)).collect();
            if let (true, Some(first)) = (self.symbolic, dims.first_mut()) {
                *first = Dim::Named("batch".to_owned());
            }
            dims
        };
        let floats = self.inputs.iter().map(|(name, lengths, _)| {
            // Weights keep their lengths: only what is called x is data.
            let data = name.starts_with('x');
            let known =
                lengths.iter().map(|&length| if self.loose { Dim::Unknown } else { Dim::Known(length) }).collect();
            declare(name, self.element, &if data && !self.loose { shape(lengths) } else { known })
        });
        let indices = self.indices.iter().map(|(name, lengths, _)| declare(name, Element::I64, &shape(lengths)));
        floats.chain(indices).collect()
    }

    pub(crate) fn model(&self, outputs: &[(&str, Element)]) -> ModelProto {
        let undeclared = |name: &str, element: Element| {
            let mut value = declare(name, element, &[]);
            if let Some(pdloss::graph::proto::TypeProtoValue::TensorType(tensor)) =
                value.r#type.as_mut().and_then(|kind| kind.value.as_mut())
            {
                tensor.shape = None;
            }
            value
        };
        let import =
            |domain: &str, version| OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) };
        ModelProto {
            ir_version: Some(9),
            opset_import: vec![import("", self.opset), import("com.microsoft", 1)],
            graph: Some(GraphProto {
                name: Some("case".to_owned()),
                node: self.nodes.clone(),
                initializer: self.constants.clone(),
                input: self.declarations(),
                output: outputs.iter().map(|&(name, element)| undeclared(name, element)).collect(),
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }

    pub(crate) fn feeds(&self) -> Arrays {
        let mut feeds = Arrays::new();
        for (name, shape, values) in &self.inputs {
            let numbers = match self.element {
                Element::F64 => Numbers::F64(values.clone()),
                _ => Numbers::F32(values.iter().map(|&value| value as f32).collect()),
            };
            feeds.insert(name.clone(), Array { shape: shape.clone(), numbers });
        }
        for (name, shape, values) in &self.indices {
            feeds.insert(name.clone(), Array { shape: shape.clone(), numbers: Numbers::I64(values.clone()) });
        }
        feeds
    }

    pub(crate) fn outcome(&self) -> String {
        self.nodes.last().unwrap().output[0].clone()
    }

    /// The model with `loss = sum(y * weights)` of its last value and the gradients of all inputs: their names.
    pub(crate) fn differentiated(&self) -> Result<(ModelProto, Vec<String>), String> {
        let y = self.outcome();
        let mut model = self.model(&[(&y, self.element)]);
        let shapes = Shapes::of(&model).map_err(|error| error.to_string())?;
        let shape = shapes.shape(&y).ok_or_else(|| format!("{y} has no shape"))?.to_vec();
        let graph = model.graph.as_mut().unwrap();
        graph.input.push(declare("loss.weights", self.element, &shape));
        graph.node.push(node("Mul", &[&y, "loss.weights"], &["loss.weighted"], Vec::new()));
        let keep = vec![attribute("keepdims", Value::Int(0))];
        graph.node.push(node("ReduceSum", &["loss.weighted"], &["loss"], keep));
        let wrt: Vec<&str> = self.inputs.iter().map(|(name, ..)| name.as_str()).collect();
        let names = differentiate(&mut model, "loss", &wrt).map_err(|error| error.to_string())?;
        let graph = model.graph.as_mut().unwrap();
        graph.output.clear();
        for name in &names {
            let mut value = declare(name, self.element, &[]);
            if let Some(pdloss::graph::proto::TypeProtoValue::TensorType(tensor)) =
                value.r#type.as_mut().and_then(|kind| kind.value.as_mut())
            {
                tensor.shape = None;
            }
            graph.output.push(value);
        }
        Ok((model, names))
    }

    /// Largest distance between the gradients and central differences, relative to the largest element of all.
    pub(crate) fn check(&self) -> Result<f64, String> {
        let y = self.outcome();
        let mut forward = open(&self.model(&[(&y, self.element)]))?;
        let mut feeds = self.feeds();
        let out = run(&mut forward, &feeds)?.remove(&y).unwrap();
        let mut random = Pcg64::seed_from_u64(5);
        let weights: Vec<f64> = out.values().iter().map(|_| random.random::<f64>() * 2.0 - 1.0).collect();
        let weights = if self.element == Element::F32 {
            weights.iter().map(|&value| f64::from(value as f32)).collect()
        } else {
            weights
        };
        let numbers = match self.element {
            Element::F64 => Numbers::F64(weights.clone()),
            _ => Numbers::F32(weights.iter().map(|&value| value as f32).collect()),
        };

        let (model, names) = self.differentiated()?;
        let mut backward = open(&model)?;
        let mut all = feeds.clone();
        all.insert("loss.weights".to_owned(), Array { shape: out.shape.clone(), numbers });
        let gradients = run(&mut backward, &all)?;

        let mut value = |feeds: &Arrays| -> Result<f64, String> {
            let y = run(&mut forward, feeds)?.remove(&y).unwrap();
            Ok(y.values().iter().zip(&weights).map(|(y, weight)| y * weight).sum())
        };
        let mut worst: Vec<(f64, String)> = Vec::new();
        let mut largest = 0.0_f64;
        for ((name, shape, _), of) in self.inputs.iter().zip(&names) {
            let gradient = &gradients[of];
            if gradient.shape != *shape {
                return Err(format!("{name}: its gradient has shape {:?}, wanted {shape:?}", gradient.shape));
            }
            for (index, got) in gradient.values().into_iter().enumerate() {
                let at = feeds[name].values()[index];
                let mut moved = |by: f64| -> Result<f64, String> {
                    feeds.get_mut(name).unwrap().set(index, at + by);
                    let value = value(&feeds);
                    feeds.get_mut(name).unwrap().set(index, at);
                    value
                };
                let step = self.step;
                let near = moved(step)? - moved(-step)?;
                let far = moved(2.0 * step)? - moved(-2.0 * step)?;
                let slope = (8.0 * near - far) / (12.0 * step);
                largest = largest.max(slope.abs());
                worst.push(((slope - got).abs(), format!("{name}[{index}]: got {got}, wanted {slope}")));
            }
        }
        let (distance, what) = worst.into_iter().max_by(|(a, _), (b, _)| a.total_cmp(b)).unwrap();
        // Written so that NaN fails.
        if !(distance <= self.budget * largest && largest > 0.0) {
            return Err(format!("{what} (largest slope {largest:.3e}, budget {:.0e})", self.budget));
        }
        Ok(distance / largest)
    }
}
