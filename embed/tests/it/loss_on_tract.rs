//! The loss in standard operators, as `pdloss export --as inline` writes it, on the runtime that is built in.

use ndarray::Array4;
use pdloss::graph::head::{Head, Spelling, attach, names};
use pdloss::graph::proto::ModelProto;
use pdloss::loss::{Batch, Config, Form, Serial, forward, random_proxies};
use prost::Message;
use tract_onnx::prelude::*;

use crate::tools::fixtures;

/// Runs embedder and loss on tract: embeddings `[batch, 32]`, the loss, the eight moments.
fn on_tract(
    config: Config,
    images: &Array4<f32>,
    labels: &[i64],
    classes: usize,
) -> (ndarray::Array2<f32>, f32, Vec<f64>) {
    let bytes = std::fs::read(fixtures().join("embedder.onnx")).unwrap();
    let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
    let head = Head::new(config, Spelling::Inline, classes);
    attach(&mut model, &head, 7).unwrap();
    let parsed = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .model_for_read(&mut model.encode_to_vec().as_slice())
        .unwrap()
        .with_input_fact(0, f32::fact(images.shape()).into())
        .unwrap()
        .with_input_fact(1, i64::fact([labels.len()]).into())
        .unwrap();
    let runnable = parsed.into_optimized().unwrap().into_runnable().unwrap();
    let inputs = tvec!(images.clone().into_tensor().into_tvalue(), tensor1(labels).into_tvalue());
    let outputs = runnable.run(inputs).unwrap();
    let embeddings = outputs[0].to_plain_array_view::<f32>().unwrap().into_dimensionality().unwrap().to_owned();
    let loss = outputs[1].to_plain_array_view::<f32>().unwrap().iter().copied().next().unwrap();
    let moments = outputs[2].to_plain_array_view::<f64>().unwrap().iter().copied().collect();
    assert_eq!(model.graph.unwrap().output[1].name(), names::LOSS);
    (embeddings, loss, moments)
}

#[test]
fn the_inlined_loss_agrees_with_the_crate() {
    let images =
        Array4::from_shape_fn((6, 1, 48, 48), |(n, c, h, w)| (((n * 7 + c * 3 + h * w) % 17) as f32 - 8.0) / 8.0);
    let labels = [0_i64, 3, 1, 3, 2, 0];
    for config in
        [Config::default(), Config::default().with_form(Form::Negative), Config::default().with_form(Form::Inverse)]
    {
        let (embeddings, loss, moments) = on_tract(config, &images, &labels, 5);
        let proxies = random_proxies::<f64>(5, 32, 7).unwrap().mapv(|v| v as f32);
        let wanted = forward(
            &config,
            &Batch { embeddings: embeddings.view(), proxies: proxies.view(), labels: &labels },
            &Serial,
        )
        .unwrap();
        let near =
            |got: f64, want: f64| assert!((got - want).abs() <= 1e-4 * want.abs().max(1.0), "{got}, wanted {want}");
        near(f64::from(loss), wanted.loss);
        wanted.moments.to_array().iter().zip(&moments).for_each(|(&want, &got)| near(got, want));
    }
}
