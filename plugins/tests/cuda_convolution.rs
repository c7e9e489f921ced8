//! Gradients of convolutions by an emulated cuDNN: types of 16 bits, TF32, how an algorithm is chosen, what is refused. A program of its
//! own: cuDNN's calls are counted here, and made to fail.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/emulation.rs"]
mod emulation;

use std::{collections::BTreeMap, sync::MutexGuard};

use common::{
    Input, Numbers, Outputs,
    case::{Case, alone, backbone, drawn, given},
    model, ours, session,
    width::Width,
};
use emulation::Emulation;
use pdloss::graph::{
    build::{Element, Value, attribute, node},
    head::Spelling,
    losses::{Loss, NormalizedSoftmax},
    proto::{ModelProto, NodeProto},
    step::{Half, Operators, Precision, StepOptions, build},
};

const WEIGHTS: &str = "ConvWeightGrad";
const INPUT: &str = "ConvInputGrad";
/// What cuDNN calls them.
const CALLED: [(&str, &str); 2] = [(WEIGHTS, "BackwardFilter"), (INPUT, "BackwardData")];
const NOT_SUPPORTED: i32 = 3000;
const ALLOCATION: i32 = 4000;

/// Kernels of 1, 3, 5 and 7, with strides, dilations, groups, one channel a group, one axis, one image; lengths that no vector divides.
fn cases() -> Vec<Case> {
    vec![
        Case::new(3, [9, 5], 1, &[7, 5], &[1, 1]),
        Case::new(2, [8, 4], 1, &[8, 9], &[1, 1]).strides(&[2, 2]),
        Case::new(2, [5, 7], 1, &[9, 6], &[3, 3]).pads(&[1, 1, 1, 1]),
        Case::new(1, [4, 6], 1, &[12, 11], &[3, 3]).strides(&[2, 2]).pads(&[1, 1, 1, 1]),
        Case::new(2, [3, 2], 1, &[11, 13], &[5, 5]).pads(&[2, 2, 2, 2]),
        Case::new(1, [3, 8], 1, &[23, 24], &[7, 7]).strides(&[2, 2]).pads(&[3, 3, 3, 3]),
        Case::new(2, [4, 3], 1, &[11, 10], &[3, 2]).dilations(&[2, 3]).pads(&[2, 1, 2, 1]),
        Case::new(3, [6, 9], 3, &[6, 7], &[3, 3]).pads(&[1, 1, 1, 1]),
        Case::new(2, [5, 5], 5, &[9, 8], &[3, 3]).strides(&[2, 2]).pads(&[1, 1, 1, 1]),
        Case::new(2, [4, 8], 4, &[7, 9], &[5, 3]).pads(&[2, 1, 2, 1]),
        Case::new(3, [4, 6], 2, &[29], &[5]).strides(&[3]).pads(&[1, 1]),
        Case::new(1, [3, 3], 3, &[13], &[3]).dilations(&[2]),
        // Padding that differs, of which what lies behind is met by no window.
        Case::new(2, [3, 4], 1, &[8, 9], &[3, 3]).strides(&[2, 2]).pads(&[1, 1, 0, 1]),
    ]
}

/// What an operator is given of a case, and what it gives.
fn ports(operator: &str, case: &Case) -> ([&'static str; 2], [Vec<usize>; 2], &'static str) {
    match operator {
        WEIGHTS => (["grad", "x"], [case.y(), case.x()], "weight_grad"),
        _ => (["grad", "weights"], [case.y(), case.weights()], "x_grad"),
    }
}

/// Sums in float64 of all products, and of their magnitudes.
fn sums(operator: &str, case: &Case, grad: &[f64], operand: &[f64]) -> [Vec<f64>; 2] {
    let length = if operator == WEIGHTS { case.weights() } else { case.x() };
    let mut sums = [0, 1].map(|_| vec![0.0; length.iter().product()]);
    case.products(|of_y, of_x, of_weights| {
        let (from, into) = if operator == WEIGHTS { (of_x, of_weights) } else { (of_weights, of_x) };
        let product: f64 = grad[of_y] * operand[from];
        sums[0][into] += product;
        sums[1][into] += product.abs();
    });
    sums
}

/// The operator in this type, with casts where it is entered and left.
fn in_width(operator: &str, case: &Case, width: Width) -> ModelProto {
    let (inputs, _, output) = ports(operator, case);
    let mut graph = alone(operator, (inputs, output), (Element::F32, Vec::new())).graph.expect("a graph");
    let cast = |from: &str, into: &str, code| node("Cast", &[from], &[into], vec![attribute("to", Value::Int(code))]);
    let narrow = inputs.map(|name| format!("{name}.narrow"));
    let given = [narrow[0].as_str(), narrow[1].as_str()];
    graph.node = vec![
        cast(inputs[0], given[0], width.code()),
        cast(inputs[1], given[1], width.code()),
        ours(operator, &given, &["narrow"], case.with_rest()),
        cast("narrow", output, 1),
    ];
    model(graph)
}

/// Numbers of this type, what the gradient comes first of.
fn rounded(operator: &str, case: &Case, width: Width) -> [Vec<f64>; 2] {
    let (_, shapes, _) = ports(operator, case);
    let values = |shape: &[usize], seed| -> Vec<f64> {
        #[expect(clippy::cast_possible_truncation, reason = "they are of float32")]
        drawn(shape, seed).into_iter().map(|value| f64::from(width.round(value as f32))).collect()
    };
    [values(&shapes[0], 5), values(&shapes[1], 6)]
}

/// A run of these, in the emulation's present context.
fn run(emulation: &Emulation, operator: &str, case: &Case, width: Width) -> Result<Vec<f64>, String> {
    let ((inputs, shapes, output), values) = (ports(operator, case), rounded(operator, case, width));
    let fed = (0..2).map(|index| given(inputs[index], Element::F32, &shapes[index], &values[index]));
    let fed: Vec<Input> = fed.collect();
    let opened = emulation.builder().and_then(|builder| session::open(builder, &in_width(operator, case, width)));
    let ran = opened.and_then(|mut session| session::run(&mut session, fed));
    let mut outputs: Outputs = ran.map_err(|error| error.to_string())?;
    outputs.remove(output).ok_or_else(|| format!("no output {output}"))
}

fn emulation() -> MutexGuard<'static, Emulation> {
    let emulation = Emulation::get();
    emulation.log_of_cudnn();
    emulation
}

fn assert_clean(emulation: &Emulation) {
    assert!(
        emulation.cudnn_is_untouched(),
        "onnxruntime's cuDNN handle was left changed, or descriptors were left behind"
    );
    assert_eq!(emulation.held(), 0, "scratch buffers were left behind");
}

/// Against sums in float64 of the rounded inputs, and the same bits twice.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn every_type_against_sums_in_float64() {
    let emulation = emulation();
    for (operator, _) in CALLED {
        for case in cases() {
            // What is below the normal numbers of float16 has no more digits.
            for (width, smallest) in [(Width::F32, 0.0), (Width::F16, 6e-8), (Width::BF16, 0.0)] {
                let what = format!("{operator} {width:?} {case:?}");
                let ran = || run(&emulation, operator, &case, width).unwrap_or_else(|error| panic!("{what}: {error}"));
                let (got, values) = (ran(), rounded(operator, &case, width));
                let [wanted, magnitudes] = sums(operator, &case, &values[0], &values[1]);
                assert_eq!(got.len(), wanted.len(), "{what}");
                for ((got, wanted), magnitude) in got.iter().zip(&wanted).zip(&magnitudes) {
                    // Rounding of the result, and of sums in float32.
                    let most = width.rounding() * wanted.abs() + 3e-7 * magnitude + smallest;
                    assert!((got - wanted).abs() <= most, "{what}: got {got}, wanted {wanted}");
                }
                assert_eq!(got, ran(), "{what}: other bits");
            }
        }
    }
    assert_clean(&emulation);
}

/// The first of the heuristics' list whose bits repeat and which takes no more memory than it may; its workspace as large as it asked for,
/// on the run's stream. What was chosen once is not asked for again.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn an_algorithm_is_chosen_once_whose_bits_repeat() {
    let (emulation, case) = (emulation(), cases().remove(2));
    let bytes = 64 + 4 * case.weights().iter().product::<usize>();
    for (operator, called) in CALLED {
        for (width, math) in [(Width::F32, 3), (Width::F16, 1), (Width::BF16, 1)] {
            emulation.new_context();
            let wanted = format!("algorithm 1 math {math} workspace {bytes} {}", emulation.stream());
            let logs = [0, 1, 2].map(|_| {
                run(&emulation, operator, &case, width).unwrap_or_else(|error| panic!("{operator}: {error}"));
                let log = emulation.log_of_cudnn();
                assert!(log.contains(&wanted), "{operator} {width:?}: {log:?}, wanted {wanted}");
                assert!(log.contains(&format!("cudnnConvolution{called}")), "{operator}: {log:?}");
                log
            });
            let listed = |log: &Vec<String>| log.iter().filter(|line| line.ends_with("Algorithm_v7")).count();
            assert_eq!(logs.each_ref().map(listed), [1, 0, 0], "{logs:?}");
            assert_eq!(logs[1], logs[2], "a later run calls the same");
        }
    }
    assert_clean(&emulation);
}

/// Products of float32 are rounded to TF32 where onnxruntime's provider allows that, and nowhere else.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn tf32_is_the_provider_s_choice() {
    let (emulation, case) = (emulation(), cases().remove(2));
    for (operator, _) in CALLED {
        let values = rounded(operator, &case, Width::F32);
        let [wanted, _] = sums(operator, &case, &values[0], &values[1]);
        let errors: BTreeMap<bool, f64> = [false, true]
            .map(|on| {
                emulation.allow_tf32(on);
                let ran = run(&emulation, operator, &case, Width::F32);
                emulation.allow_tf32(false);
                let got = ran.expect("it runs");
                (on, got.iter().zip(&wanted).map(|(got, wanted)| (got - wanted).abs()).fold(0.0, f64::max))
            })
            .into();
        assert!(errors[&false] < 1e-5 && (1e-4..1e-1).contains(&errors[&true]), "{operator}: {errors:?}");
    }
    assert_clean(&emulation);
}

/// Whatever cuDNN answers, the run ends with a sentence that names the call, and the next run works.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn refusals_of_cudnn() {
    let case = cases().remove(8);
    let emulation = emulation();
    for (operator, called) in CALLED {
        let asked = ["Algorithm_v7", "WorkspaceSize"].map(|what| format!("cudnnGetConvolution{called}{what}"));
        let computed = format!("cudnnConvolution{called}");
        let functions = [
            "cudnnGetStream",
            "cudnnSetStream",
            "cudnnCreateTensorDescriptor",
            "cudnnSetTensor4dDescriptor",
            "cudnnCreateFilterDescriptor",
            "cudnnSetFilter4dDescriptor",
            "cudnnCreateConvolutionDescriptor",
            "cudnnSetConvolution2dDescriptor",
            "cudnnSetConvolutionGroupCount",
            "cudnnSetConvolutionMathType",
            &asked[0],
            &asked[1],
            &computed,
        ];
        for function in functions {
            for (status, word) in
                [(NOT_SUPPORTED, "CUDNN_STATUS_NOT_SUPPORTED (3000)"), (ALLOCATION, "ALLOCATION_FAILED")]
            {
                emulation.new_context();
                emulation.fail_in_cudnn(function, status);
                let error = run(&emulation, operator, &case, Width::F32).expect_err(function);
                emulation.fail_in_cudnn(function, 0);
                for wanted in [operator, "CUDA: cuDNN", "9.1.0", function, word] {
                    assert!(error.contains(wanted), "'{wanted}' is not in: {error}");
                }
                if !function.ends_with("Stream") {
                    assert!(error.contains("x [2, 5, 9, 8], weights [5, 1, 3, 3], y [2, 5, 5, 4]"), "{error}");
                }
                assert_clean(&emulation);
                run(&emulation, operator, &case, Width::F32)
                    .unwrap_or_else(|error| panic!("after {function}: {error}"));
            }
        }
        // Of all that are listed the reason is given.
        emulation.new_context();
        emulation.fail_in_cudnn(&asked[1], NOT_SUPPORTED);
        let error = run(&emulation, operator, &case, Width::F16).expect_err("none is left");
        emulation.fail_in_cudnn(&asked[1], 0);
        for wanted in ["algorithm 0: other bits each time", "algorithm 4: CUDNN", "to float16", "--inline"] {
            assert!(error.contains(wanted), "'{wanted}' is not in: {error}");
        }
        // A handle on the right stream already, and one that cannot be put back: the result is there all the same.
        emulation.fail_in_cudnn("cudnnDestroyTensorDescriptor", NOT_SUPPORTED);
        run(&emulation, operator, &case, Width::F32).expect("it runs");
        emulation.fail_in_cudnn("cudnnDestroyTensorDescriptor", 0);
        emulation.forget_descriptors();
    }
    assert_clean(&emulation);
}

/// Without images, and where no window has a place, the gradient is zero, and cuDNN is not called.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn nothing_gives_zeros() {
    let emulation = emulation();
    let attributes = || {
        let ints = |name, values: [i64; 2]| attribute(name, Value::Ints(values.to_vec()));
        vec![ints("kernel_shape", [3, 2]), ints("strides", [3, 2]), ints("output_padding", [2, 1])]
    };
    for (operator, shapes, lengths) in [
        (WEIGHTS, [vec![0, 4, 3, 3], vec![0, 2, 9, 6]], 4 * 2 * 6),
        (WEIGHTS, [vec![2, 4, 0, 3], vec![2, 2, 2, 6]], 4 * 2 * 6),
        (INPUT, [vec![0, 4, 3, 3], vec![4, 2, 3, 2]], 0),
        (INPUT, [vec![2, 4, 0, 0], vec![4, 2, 3, 2]], 2 * 2 * 2),
    ] {
        let (inputs, output) =
            if operator == WEIGHTS { (["grad", "x"], "weight_grad") } else { (["grad", "weights"], "x_grad") };
        let graph = alone(operator, (inputs, output), (Element::F32, attributes()));
        let mut session = session::open(emulation.builder().expect("a builder"), &graph).expect("it opens");
        emulation.log_of_cudnn();
        let fed = |index: usize| (inputs[index], shapes[index].clone(), ones(&shapes[index]));
        let got = session::run(&mut session, vec![fed(0), fed(1)]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(got[output], vec![0.0; lengths], "{operator} {shapes:?}");
        assert_eq!(emulation.log_of_cudnn(), [""; 0]);
    }
    assert_clean(&emulation);
}

fn ones(shape: &[usize]) -> Numbers {
    Numbers::F32(vec![1.0; shape.iter().product()])
}

/// Padding that cuDNN has no convolution of is refused when the session is made, and fewer places than fit when it runs.
#[test]
#[cfg_attr(not(all(onnxruntime, cxx)), ignore = "needs onnxruntime (set ORT_DYLIB_PATH) and a C++ compiler (set CXX)")]
fn what_cudnn_has_not_is_refused() {
    let emulation = emulation();
    let open = |operator: &str, case: &Case| {
        let (inputs, _, output) = ports(operator, case);
        let graph = alone(operator, (inputs, output), (Element::F32, case.with_rest()));
        session::open(emulation.builder().expect("a builder"), &graph)
    };
    let uneven = Case::new(2, [3, 4], 1, &[7, 8], &[3, 2]).pads(&[0, 2, 3, 1]);
    for (operator, _) in CALLED {
        let error = open(operator, &uneven).expect_err("it is refused").to_string();
        for wanted in [
            operator,
            "cuDNN pads both ends of an axis alike",
            "pads are 0 and 3 with strides of 1",
            "standard operators",
        ] {
            assert!(error.contains(wanted), "'{wanted}' is not in: {error}");
        }
    }
    let case = Case::new(2, [4, 6], 2, &[5, 5], &[3, 3]);
    let mut session = open(WEIGHTS, &case).expect("it opens");
    let fed = |name, shape: [usize; 4]| (name, shape.to_vec(), ones(&shape));
    let error = session::run(&mut session, vec![fed("grad", [2, 6, 2, 3]), fed("x", [2, 4, 5, 5])]);
    let error = error.expect_err("it is refused").to_string();
    assert!(error.contains("strides of 1 and 5 elements under 2 places"), "{error}");
    assert_clean(&emulation);
}

/// Every node of an operator, and how many there are.
fn nodes<'a>(model: &'a ModelProto, operator: &str) -> Vec<&'a NodeProto> {
    model.graph.iter().flat_map(|graph| &graph.node).filter(|node| node.op_type() == operator).collect()
}

/// A step for CUDA has its convolutions' gradients as operators, in 16 bits too, but for those that cuDNN has not.
#[test]
fn a_step_for_cuda_is_written_in_what_cudnn_has() {
    let written = |case: &Case, operators, precision| {
        let options = StepOptions { operators, precision, ..plain() };
        build(backbone(case, false), &options).expect("it is written")
    };
    let even = Case::new(2, [5, 7], 1, &[40, 41], &[3, 3]).strides(&[2, 2]).pads(&[1, 1, 1, 1]);
    let count = |model: &ModelProto| [WEIGHTS, INPUT].map(|operator| nodes(model, operator).len());
    assert_eq!(count(&written(&even, Operators::Cuda, None)), [2, 1]);
    // On the processor the input's gradient of so many places is a convolution of onnxruntime.
    assert_eq!(count(&written(&even, Operators::Cpu, None)), [2, 0]);
    let half = written(&even, Operators::Cuda, Some(Precision::new(Half::F16, false)));
    assert_eq!(count(&half), [2, 1]);
    for node in nodes(&half, WEIGHTS) {
        assert!(node.input.iter().all(|name| name.starts_with("pdloss.precision.")), "{node:?}");
    }
    // 40 rows under 20 windows of 3 at every second: an element of padding is met behind them, and none in front.
    let uneven = even.clone().pads(&[0, 1, 1, 1]);
    assert_eq!(count(&written(&uneven, Operators::Cuda, None)), [1, 0]);
    assert_eq!(count(&written(&uneven, Operators::Cpu, None)), [2, 0]);
    // The other way round no window meets what cuDNN pads behind.
    let in_front = even.clone().pads(&[1, 1, 0, 1]);
    assert_eq!(count(&written(&in_front, Operators::Cuda, None)), [2, 1]);
    // As the node says it by `auto_pad`.
    for (auto, wanted) in [("SAME_UPPER", [1, 0]), ("SAME_LOWER", [2, 1]), ("VALID", [2, 1])] {
        let case = if auto == "VALID" { even.clone().pads(&[0; 4]) } else { uneven.clone() };
        let mut backbone = backbone(&case, false);
        let attributes = &mut backbone.graph.as_mut().expect("a graph").node[1].attribute;
        attributes.retain(|attribute| attribute.name() != "pads");
        attributes.push(attribute("auto_pad", Value::Text(auto.to_owned())));
        let options = StepOptions { operators: Operators::Cuda, ..plain() };
        assert_eq!(count(&build(backbone, &options).expect("it is written")), wanted, "{auto}");
    }
}

fn plain() -> StepOptions {
    let loss = Loss::Softmax(NormalizedSoftmax::default());
    StepOptions { spelling: Spelling::Inline, ..StepOptions::new(loss, 3) }
}
