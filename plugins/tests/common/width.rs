//! The shared cases in the CUDA operators' element types: as float32 outside, with casts where the operators are entered and
//! left, so that any runtime can feed and read them.

use half::{bf16, f16};
use pdloss::{
    graph::{
        build::{Element, Value, attribute, node},
        proto::{ModelProto, NodeProto},
    },
    loss::Config,
    testing::{Case, Distribution},
};

use super::{Input, Outputs, Problem, problems};

/// The element types of the CUDA operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    F32,
    F16,
    BF16,
}

impl Width {
    /// ONNX's number of the type.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::F32 => 1,
            Self::F16 => 10,
            Self::BF16 => 16,
        }
    }

    pub(crate) fn round(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::F16 => f16::from_f32(value).to_f32(),
            Self::BF16 => bf16::from_f32(value).to_f32(),
        }
    }

    /// Half the distance of two neighbours, relatively: what rounding a result may cost.
    pub(crate) fn rounding(self) -> f64 {
        match self {
            Self::F32 => 0.0,
            Self::F16 => 2.0_f64.powi(-11),
            Self::BF16 => 2.0_f64.powi(-8),
        }
    }
}

/// The model of a problem in another type: as it is, with casts where it is entered and left.
fn cast(problem: &Problem, width: Width) -> ModelProto {
    let mut model = problem.model();
    if width == Width::F32 {
        return model;
    }
    let graph = model.graph.as_mut().expect("a graph");
    let narrow = |name: &str| format!("{name}.narrow");
    let floats = ["loss_grad", "embeddings", "proxies"];
    let results = ["loss", "embeddings_grad", "proxies_grad"];
    let results = results.iter().flat_map(|name| [(*name).to_owned(), format!("fused_{name}")]).collect::<Vec<_>>();
    let cast = |from: &str, into: &str, code| {
        let node = node("Cast", &[from], &[into], vec![attribute("to", Value::Int(code))]);
        NodeProto { name: Some(format!("{from} as {into}")), ..node }
    };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for input in &graph.input {
        if floats.contains(&input.name()) {
            before.push(cast(input.name(), &narrow(input.name()), width.code()));
        }
    }
    for node_of_ours in &mut graph.node {
        for name in &mut node_of_ours.input {
            if floats.contains(&name.as_str()) {
                *name = narrow(name);
            }
        }
        for name in &mut node_of_ours.output {
            if results.contains(name) {
                after.push(cast(&narrow(name), name, 1));
                *name = narrow(name);
            }
        }
    }
    graph.node = [before, std::mem::take(&mut graph.node), after].concat();
    model
}

/// A problem in one of the types, its inputs rounded to that.
pub(crate) struct Narrowed {
    problem: Problem,
    width: Width,
}

impl Narrowed {
    /// Rounds the inputs.
    pub(crate) fn new(mut problem: Problem, width: Width) -> Self {
        let case = &mut problem.case;
        case.embeddings.iter_mut().chain(&mut case.proxies).for_each(|value| *value = width.round(*value));
        Self { problem, width }
    }

    /// Under which a failure is reported.
    pub(crate) fn name(&self) -> String {
        format!("{} as {:?}", self.problem.name(), self.width)
    }

    /// The model, with casts.
    pub(crate) fn model(&self) -> ModelProto {
        cast(&self.problem, self.width)
    }

    /// The model's inputs, in order.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        self.problem.inputs()
    }

    /// Holds results to the oracle, which gets the same rounded inputs.
    pub(crate) fn check(&self, outputs: &Outputs) -> Result<(), String> {
        self.problem.check_rounded(outputs, self.width.rounding())
    }

    /// Some results are no float16 numbers: above 65504, or so small that the steps between them (2^-24) are no longer
    /// small against the largest.
    fn fits(&self) -> bool {
        let case = &self.problem.case;
        let truth = if self.problem.proxies { case.reference() } else { case.d_loss_reference() };
        let largest = |values: &[f64]| values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let sizes = [largest(&truth.embeddings), largest(&truth.proxies)];
        let small = |&size: &f64| size > 0.0 && size < 1e-3;
        !case.name.contains("Lengths") && truth.loss.abs() < 65504.0 && !sizes.iter().any(small)
    }
}

/// More cases of the Gram path, which the CUDA operators take where `(B + C) D <= 2 B C` and there are more than 64 classes: most
/// shapes of the shared list are too small for it.
fn gram_cases() -> Vec<Case> {
    use Distribution::{Clustered, Converged, Lengths, NearlyParallel, Opposed, Random, ZeroRows};
    let mut cases = Vec::new();
    for settings in every_setting() {
        for distribution in [Random, Clustered, Opposed] {
            cases.push(Case::new((40, 70, 19), distribution, settings));
        }
    }
    for distribution in [Random, Clustered, Converged, NearlyParallel, Lengths, ZeroRows, Opposed] {
        for shape in [(130, 200, 129), (70, 600, 64), (400, 65, 31), (1, 66, 1)] {
            cases.push(Case::new(shape, distribution, Config::default()));
        }
    }
    let mut case = Case::new((90, 100, 48), NearlyParallel, Config::default());
    case.labels.fill(99);
    case.name += ", all one label";
    cases.push(case);
    cases
}

/// The settings that the shared list goes through.
fn every_setting() -> Vec<Config> {
    let mut settings: Vec<Config> = Vec::new();
    for case in pdloss::testing::cases() {
        if !settings.contains(&case.config) {
            settings.push(case.config);
        }
    }
    settings
}

/// Every case once in this type, labels of either type in turn; without those that float16 cannot hold.
pub(crate) fn on_cuda(width: Width) -> Vec<Narrowed> {
    let more = gram_cases().into_iter().map(|case| Problem {
        case,
        proxies: true,
        element: Element::F32,
        labels: Element::I64,
    });
    let single = problems().into_iter().step_by(2).chain(more).enumerate();
    let labelled =
        single.map(|(index, problem)| Problem { labels: [Element::I64, Element::I32][index % 2], ..problem });
    labelled
        .map(|problem| Narrowed::new(problem, width))
        .filter(|problem| width != Width::F16 || problem.fits())
        .collect()
}
