//! Steps in standard operators and in those of the library, side by side.

use crate::{
    common::{OPERATORS, session},
    runtime::Array,
    step::{driver::Driver, numbers},
};
use ort::session::Session;
use pdloss::graph::{
    build::Element,
    head::Spelling,
    losses::{Loss, NormalizedSoftmax},
    proto::ModelProto,
    step::{Operators, Optimizer, StepOptions, build, names},
};

pub(crate) fn open(model: &ModelProto, threads: usize) -> Session {
    let builder = session::builder().expect("a builder").with_intra_threads(threads).expect("threads");
    session::open(builder, model).unwrap_or_else(|error| panic!("{error}"))
}

/// How many nodes of the graph are one of these operators.
pub(crate) fn count(model: &ModelProto, operators: &[&str]) -> usize {
    model.graph.iter().flat_map(|graph| &graph.node).filter(|node| operators.contains(&node.op_type())).count()
}

pub(crate) fn array(element: Element, shape: &[usize], seed: u64) -> Array {
    let count = shape.iter().product::<usize>();
    let values = &numbers(count.max(2), seed)[..count];
    if element == Element::F64 { Array::f64(shape, values) } else { Array::f32(shape, values) }
}

/// A step in standard operators, and in those of the library.
pub(crate) fn graphs(backbone: &ModelProto, options: &StepOptions) -> [ModelProto; 2] {
    [Operators::Standard, OPERATORS]
        .map(|operators| build(backbone.clone(), &StepOptions { operators, ..options.clone() }).expect("built"))
}

/// Three steps of both on data of this shape: within `tolerance` of the largest number of an output, 0 for equal bits. The bits of the
/// library's operators do not follow from the number of threads. Gives both graphs.
pub(crate) fn hold_to_standard(
    what: &str,
    backbone: &ModelProto,
    (element, shape): (Element, &[usize]),
    options: &StepOptions,
    tolerance: f64,
) -> [ModelProto; 2] {
    let [standard, operators] = graphs(backbone, options);
    let size = |model: &ModelProto| model.graph.iter().map(|graph| graph.node.len()).sum::<usize>();
    assert!(size(&operators) < size(&standard), "{what}");
    let mut wanted = Driver::of(standard.clone(), open(&standard, 1));
    let mut others = [1, 3].map(|threads| Driver::of(operators.clone(), open(&operators, threads)));
    let labels: Vec<i64> = (0..shape[0] as i64).map(|row| row % 3).collect();
    for step in 0..3 {
        let data = array(element, shape, 10 + step);
        let wanted = wanted.step(&data, &labels, 0.1);
        let got = others.each_mut().map(|driver| driver.step(&data, &labels, 0.1));
        assert!(got[0] == got[1], "{what} {element:?} {shape:?}: bits follow from the number of threads");
        for (output, wanted) in &wanted {
            let (got, wanted) = (got[0][output].values(), wanted.values());
            let largest = wanted.iter().fold(1.0_f64, |largest, value| largest.max(value.abs()));
            for (got, wanted) in got.iter().zip(&wanted) {
                // On CUDA the norm is summed in one node, in another order.
                let has_order = OPERATORS == Operators::Cuda && output == names::GRADIENT_NORM;
                let tolerance = if has_order { tolerance.max(1e-6) } else { tolerance };
                let is_near = if tolerance == 0.0 {
                    got.to_bits() == wanted.to_bits()
                } else {
                    (got - wanted).abs() <= tolerance * largest
                };
                assert!(is_near, "{what} {element:?} {shape:?}, step {step}: {output}: got {got}, wanted {wanted}");
            }
        }
    }
    [standard, operators]
}

/// Plain descent on a loss of three classes.
pub(crate) fn plain() -> StepOptions {
    let optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    let loss = Loss::Softmax(NormalizedSoftmax::default());
    StepOptions { spelling: Spelling::Inline, optimizer, ..StepOptions::new(loss, 3) }
}
