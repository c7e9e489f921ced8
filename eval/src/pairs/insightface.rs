//! insightface's `.bin`: a Python pickle of `(images, answers)`, two encoded images for each answer. The same image is
//! stored again for each pair that it is in; equal bytes are one image here.

use std::path::Path;

use pdloss_embed::guard::guarded;
use serde_pickle::Value;

use super::{Builder, pickle};
use crate::{Error, Result};

/// A tuple of two lists.
const WANTED: pickle::Wanted = pickle::Wanted {
    containers: 64,
    parts: "two lists",
    cure: "plain bytes and bools: pickle ([bytes(i) for i in images], [bool(a) for a in answers])",
};

/// Without its middle, where it is long: what is wanted stands at the end.
fn shortened(problem: &str) -> String {
    const BEGINNING: usize = 100;
    const END: usize = 160;
    let chars: Vec<char> = problem.chars().collect();
    if chars.len() <= BEGINNING + END {
        return problem.to_owned();
    }
    let part = |chars: &[char]| chars.iter().collect::<String>();
    format!("{} ... {}", part(&chars[..BEGINNING]), part(&chars[chars.len() - END..]))
}

pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<(Builder, Vec<Vec<u8>>)> {
    let wrong = |problem: String| Error::data(path, problem);
    // What is wrong may quote an image.
    let not_pickle = |problem: String| {
        let problem = shortened(&problem);
        wrong(format!(
            "is not a pickle of images and answers: {problem} (protocols 1 to 5 are read: pickle.dump(..., protocol=4))"
        ))
    };
    let value = guarded(path, || pickle::read(bytes, WANTED).map_err(not_pickle))?;
    let kind = "wanted a pickle of two lists, encoded images and answers";
    let (Value::Tuple(parts) | Value::List(parts)) = value else { return Err(wrong(kind.into())) };
    let Ok([images, answers]) = <[Value; 2]>::try_from(parts) else { return Err(wrong(kind.into())) };
    let list = |value| match value {
        Value::List(items) | Value::Tuple(items) => Ok(items),
        _ => Err(wrong(kind.into())),
    };
    let (images, answers) = (list(images)?, list(answers)?);
    if images.len() != 2 * answers.len() {
        return Err(wrong(format!("holds {} images for {} answers; wanted two each", images.len(), answers.len())));
    }
    let mut contents: Vec<Vec<u8>> = Vec::new();
    let mut numbers = std::collections::HashMap::<Vec<u8>, usize>::new();
    let mut order = Vec::with_capacity(images.len());
    for (at, image) in images.into_iter().enumerate() {
        let Value::Bytes(image) = image else { return Err(wrong(format!("image {at} is not a byte string: {kind}"))) };
        let number = *numbers.entry(image).or_insert_with_key(|image| {
            contents.push(image.clone());
            contents.len() - 1
        });
        order.push(number);
    }
    let mut builder = Builder::default();
    for (at, value) in answers.iter().enumerate() {
        let same = match value {
            Value::Bool(same) => *same,
            Value::I64(n @ (0 | 1)) => *n == 1,
            _ => return Err(wrong(format!("answer {at} is neither True nor False"))),
        };
        let name = |side: usize| format!("{:06}.jpg", order[2 * at + side]);
        builder.pair(&name(0), &name(1), same, None);
    }
    // Images were numbered as they first appear, and so does the builder.
    Ok((builder, contents))
}
