//! Registers the operators in a Rust program through `ort`, without a shared library, and runs the loss once.
//!
//! ```text
//! ORT_DYLIB_PATH=…/libonnxruntime.so cargo run --package pdloss-ort --example register
//! ```
//!
//! With a path behind it, it only writes its model there: `plugins/examples/loss.onnx`, which the C example runs.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use anyhow::{Context as _, Result};
use ort::{AsPointer as _, session::Session, value::Tensor};
use pdloss::graph::{
    build::{Dim, Element, declare, node},
    proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto},
};
use prost::Message as _;

fn main() -> Result<()> {
    if let Some(path) = std::env::args().nth(1) {
        return Ok(std::fs::write(path, model().encode_to_vec())?);
    }
    let library = std::env::var("ORT_DYLIB_PATH").context("set ORT_DYLIB_PATH to onnxruntime's shared library")?;
    let environment = ort::init_from(library)?.build()?;
    let mut builder = Session::builder(&environment)?;
    // SAFETY: the options belong to `builder`, the table to the onnxruntime that made them, which is never unloaded.
    unsafe { pdloss_ort::register(builder.ptr_mut(), ort::api()) }?;
    let mut session = builder.commit_from_memory(&model().encode_to_vec())?;

    // Three samples, two classes; the first two samples lie near their proxies.
    let embeddings = Tensor::from_array(([3, 2], vec![1.0_f32, 0.1, 0.2, 1.0, 0.7, 0.6]))?;
    let proxies = Tensor::from_array(([2, 2], vec![1.0_f32, 0.0, 0.0, 1.0]))?;
    let labels = Tensor::from_array(([3], vec![0_i64, 1, 0]))?;
    let outputs = session.run(ort::inputs! { "embeddings" => embeddings, "proxies" => proxies, "labels" => labels })?;
    let loss = outputs["loss"].try_extract_scalar::<f32>()?;
    let (_, moments) = outputs["moments"].try_extract_tensor::<f64>()?;
    let (_, gradient) = outputs["embeddings_grad"].try_extract_tensor::<f32>()?;
    println!("loss {loss:.6}  d' {:.6}  gradient of the embeddings {gradient:.4?}", moments[4]);
    anyhow::ensure!(
        (f64::from(loss) - 0.5 * 2.0_f64.ln() + moments[4].ln()).abs() < 1e-5,
        "the loss is not -log d' + log(2) / 2"
    );
    Ok(())
}

/// One node: loss and gradients of what goes in.
fn model() -> ModelProto {
    let (batch, dim) = (Dim::Named("B".to_owned()), Dim::Named("D".to_owned()));
    let outputs = ["loss", "moments", "embeddings_grad", "proxies_grad"];
    let node = node("PDLossWithGrad", &["embeddings", "proxies", "labels"], &outputs, Vec::new());
    let set = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) };
    let graph = GraphProto {
        name: Some("loss".to_owned()),
        node: vec![NodeProto { domain: Some("com.pdloss".to_owned()), ..node }],
        input: vec![
            declare("embeddings", Element::F32, &[batch.clone(), dim.clone()]),
            declare("proxies", Element::F32, &[Dim::Named("C".to_owned()), dim.clone()]),
            declare("labels", Element::I64, std::slice::from_ref(&batch)),
        ],
        output: vec![
            declare("loss", Element::F32, &[]),
            declare("moments", Element::F64, &[Dim::Known(8)]),
            declare("embeddings_grad", Element::F32, &[batch, dim]),
        ],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![set("", 17), set("com.pdloss", 1)],
        graph: Some(graph),
        ..ModelProto::default()
    }
}
