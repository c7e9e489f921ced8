//! The shared cases of the crate `pdloss` as ONNX models: what any runtime is held to.
//!
//! One model a case. It holds the loss, its gradient with an upstream of its own, and for PD-Loss the node that does both in one
//! pass, and is checked against the oracle within the error budget.

#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod case;
pub(crate) mod session;
pub(crate) mod width;

use std::collections::BTreeMap;

use pdloss::{
    graph::{
        build::{Dim, Element, Value, attribute, declare, node},
        proto::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto},
        step::Operators,
    },
    loss::random_proxies,
    reference::Reference,
    testing::{Case, F32_SLACK, cases, compare, compare_value, d_loss_cases},
};

/// The types that operators of a step have kernels for.
pub(crate) const FLOATS: [Element; 2] = [Element::F32, Element::F64];

/// What steps are written in.
pub(crate) const OPERATORS: Operators = Operators::Cpu;

/// What comes from above into the gradient operators.
pub(crate) const UPSTREAM: f64 = -2.5;

/// A case in one combination of types.
pub(crate) struct Problem {
    /// Rows, labels and settings.
    pub(crate) case: Case,
    /// PD-Loss, against proxies; else D-Loss.
    pub(crate) proxies: bool,
    /// The type of embeddings, proxies and gradients.
    pub(crate) element: Element,
    /// The type of the labels.
    pub(crate) labels: Element,
}

/// Numbers of an input, as a runtime takes them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Numbers {
    /// float32
    F32(Vec<f32>),
    /// float64
    F64(Vec<f64>),
    /// int32
    I32(Vec<i32>),
    /// int64
    I64(Vec<i64>),
}

/// Numbers that are drawn.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let rows = random_proxies::<f64>(count, 3, seed).expect("rows");
    rows.column(0).iter().map(|value| value * 1.7).collect()
}

/// Name, shape, numbers.
pub(crate) type Input = (&'static str, Vec<usize>, Numbers);

/// Results by name.
pub(crate) type Outputs = BTreeMap<String, Vec<f64>>;

/// Every case in float32 with int64 labels, and with the other types in turn.
pub(crate) fn problems() -> Vec<Problem> {
    let types = [
        (Element::F32, Element::I64),
        (Element::F64, Element::I64),
        (Element::F32, Element::I32),
        (Element::F64, Element::I32),
    ];
    let all = cases().into_iter().map(|case| (case, true)).chain(d_loss_cases().into_iter().map(|case| (case, false)));
    all.enumerate()
        .flat_map(|(index, (case, proxies))| {
            let other = types[1 + index % 3];
            [types[0], other].map(|(element, labels)| Problem { case: case.clone(), proxies, element, labels })
        })
        .collect()
}

/// PD-Loss in float32 with int64 labels, of a shape that is in the list.
pub(crate) fn of_shape(batch: usize, classes: usize) -> Problem {
    let fits = |problem: &Problem| {
        problem.proxies
            && (problem.case.batch, problem.case.classes) == (batch, classes)
            && (problem.element, problem.labels) == (Element::F32, Element::I64)
    };
    problems().into_iter().find(fits).expect("the list has this shape")
}

impl Problem {
    /// Under which a failure is reported.
    pub(crate) fn name(&self) -> String {
        let loss = if self.proxies { "PDLoss" } else { "DLoss" };
        format!("{loss} {:?} {:?} {}", self.element, self.labels, self.case.name)
    }

    /// The model.
    pub(crate) fn model(&self) -> ModelProto {
        let case = &self.case;
        let (batch, classes, dim) = (Dim::Named("B".to_owned()), Dim::Known(case.classes), Dim::Known(case.dim));
        let rows = [batch.clone(), dim.clone()];
        let mut inputs = vec![declare("loss_grad", self.element, &[]), declare("embeddings", self.element, &rows)];
        let mut outputs = vec![
            declare("loss", self.element, &[]),
            declare("moments", Element::F64, &[Dim::Known(8)]),
            declare("embeddings_grad", self.element, &rows),
        ];
        let mut given = vec!["embeddings"];
        let mut gradients = vec!["embeddings_grad"];
        if self.proxies {
            let proxies = [classes, dim];
            inputs.push(declare("proxies", self.element, &proxies));
            given.push("proxies");
            gradients.push("proxies_grad");
            outputs.push(declare("proxies_grad", self.element, &proxies));
            outputs.push(declare("fused_loss", self.element, &[]));
            outputs.push(declare("fused_embeddings_grad", self.element, &rows));
            outputs.push(declare("fused_proxies_grad", self.element, &proxies));
        }
        inputs.push(declare("labels", self.labels, &[batch]));
        given.push("labels");
        let loss = if self.proxies { "PDLoss" } else { "DLoss" };
        let to_gradient = [&["loss_grad"], given.as_slice(), &["moments", "saved"]].concat();
        let mut nodes = vec![
            ours(loss, &given, &["loss", "moments", "saved"], self.attributes()),
            ours(&format!("{loss}Grad"), &to_gradient, &gradients, Vec::new()),
        ];
        if self.proxies {
            let fused = ["fused_loss", "fused_moments", "fused_embeddings_grad", "fused_proxies_grad"];
            if self.scales() {
                given.push("loss_grad");
            }
            nodes.push(ours("PDLossWithGrad", &given, &fused, self.attributes()));
        }
        model(GraphProto {
            name: Some("case".to_owned()),
            node: nodes,
            input: inputs,
            output: outputs,
            ..GraphProto::default()
        })
    }

    /// Whether the node that does both in one pass is given a factor for its gradients: every other shape.
    fn scales(&self) -> bool {
        self.case.classes.is_multiple_of(2)
    }

    #[expect(clippy::cast_possible_truncation, reason = "an attribute is a 32-bit number")]
    fn attributes(&self) -> Vec<AttributeProto> {
        let config = &self.case.config;
        vec![
            attribute("form", Value::Text(config.form().to_string())),
            attribute("floor_mode", Value::Text(config.floor_mode().to_string())),
            attribute("floor", Value::Float(config.floor() as f32)),
            attribute("temperature", Value::Float(config.temperature() as f32)),
            attribute("eps", Value::Float(config.eps() as f32)),
        ]
    }

    /// The model's inputs, in order.
    #[expect(clippy::cast_possible_truncation, reason = "few classes")]
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let case = &self.case;
        let floats = |values: &[f32]| match self.element {
            Element::F64 => Numbers::F64(values.iter().map(|&value| f64::from(value)).collect()),
            _ => Numbers::F32(values.to_vec()),
        };
        let labels = match self.labels {
            Element::I32 => Numbers::I32(case.labels.iter().map(|&label| label as i32).collect()),
            _ => Numbers::I64(case.labels.clone()),
        };
        let mut inputs = vec![
            ("loss_grad", vec![], floats(&[UPSTREAM as f32])),
            ("embeddings", vec![case.batch, case.dim], floats(&case.embeddings)),
        ];
        if self.proxies {
            inputs.push(("proxies", vec![case.classes, case.dim], floats(&case.proxies)));
        }
        inputs.push(("labels", vec![case.batch], labels));
        inputs
    }

    /// Holds results to the oracle.
    pub(crate) fn check(&self, outputs: &Outputs) -> Result<(), String> {
        self.check_rounded(outputs, 0.0)
    }

    /// Holds results to the oracle, where loss and gradients were rounded in the end by at most this, relatively.
    pub(crate) fn check_rounded(&self, outputs: &Outputs, rounding: f64) -> Result<(), String> {
        let case = &self.case;
        let get = |name: &str| outputs.get(name).cloned().ok_or_else(|| format!("no output {name}"));
        let (truth, plain) = if self.proxies {
            (case.reference(), case.plain())
        } else {
            (case.d_loss_reference(), case.d_loss_plain())
        };
        // Nothing is forgiven float64 for what float32 cannot do.
        let exact = self.element == Element::F64;
        let slack = if exact { case.f64_slack() } else { F32_SLACK };
        let (loss, rows, columns) = if exact {
            (truth.loss, truth.embeddings.clone(), truth.proxies.clone())
        } else {
            (plain.loss, plain.embeddings, plain.proxies)
        };
        let one = |name: &str| match get(name)?.as_slice() {
            &[value] => Ok(value),
            values => Err(format!("{name}: {} numbers", values.len())),
        };
        check_moments(&get("moments")?, &truth, slack)?;
        let slack = slack + rounding;
        compare_value("loss", one("loss")?, truth.loss, loss, slack)?;
        let by = |factor: f64, values: &[f64]| values.iter().map(|value| value * factor).collect::<Vec<_>>();
        let gradient = |name: &str, given: &[f32], factor: f64, truth: &[f64], plain: &[f64]| {
            compare(name, case.dim, given, &get(name)?, &by(factor, truth), &by(factor, plain), slack)
        };
        gradient("embeddings_grad", &case.embeddings, UPSTREAM, &truth.embeddings, &rows)?;
        if self.proxies {
            gradient("proxies_grad", &case.proxies, UPSTREAM, &truth.proxies, &columns)?;
            compare_value("fused_loss", one("fused_loss")?, truth.loss, loss, slack)?;
            let factor = if self.scales() { UPSTREAM } else { 1.0 };
            gradient("fused_embeddings_grad", &case.embeddings, factor, &truth.embeddings, &rows)?;
            gradient("fused_proxies_grad", &case.proxies, factor, &truth.proxies, &columns)?;
        }
        Ok(())
    }
}

fn check_moments(got: &[f64], truth: &Reference, slack: f64) -> Result<(), String> {
    let names =
        ["mu_genuine", "mu_impostor", "var_genuine", "var_impostor", "d'", "n_genuine", "n_impostor", "bad labels"];
    if got.len() != names.len() {
        return Err(format!("moments: {} numbers", got.len()));
    }
    let wanted = truth.moments.iter().copied().chain([0.0]);
    for ((name, &got), wanted) in names.into_iter().zip(got).zip(wanted) {
        compare_value(name, got, wanted, wanted, slack)?;
    }
    Ok(())
}

/// A node of the operators' domain.
pub(crate) fn ours(operator: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto { domain: Some("com.pdloss".to_owned()), ..node(operator, inputs, outputs, attributes) }
}

/// PD-Loss's gradient alone, with moments and saved state from outside and no lengths declared.
pub(crate) fn gradient_alone() -> ModelProto {
    let rank = |count: usize| vec![Dim::Unknown; count];
    let names = ["loss_grad", "embeddings", "proxies", "labels", "moments", "saved"];
    let gradients = ["embeddings_grad", "proxies_grad"];
    model(GraphProto {
        name: Some("gradient".to_owned()),
        node: vec![ours("PDLossGrad", &names, &gradients, Vec::new())],
        input: vec![
            declare("loss_grad", Element::F32, &[]),
            declare("embeddings", Element::F32, &rank(2)),
            declare("proxies", Element::F32, &rank(2)),
            declare("labels", Element::I64, &rank(1)),
            declare("moments", Element::F64, &rank(1)),
            declare("saved", Element::F64, &rank(1)),
        ],
        output: gradients.map(|name| declare(name, Element::F32, &rank(2))).to_vec(),
        ..GraphProto::default()
    })
}

/// A model around a graph.
pub(crate) fn model(graph: GraphProto) -> ModelProto {
    let set = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![set("", 17), set("com.pdloss", 1)],
        graph: Some(graph),
        ..ModelProto::default()
    }
}
