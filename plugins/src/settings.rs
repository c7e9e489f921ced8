//! A node's attributes as settings of the loss, checked when the kernel is made.

use std::{ffi::CStr, str::FromStr};

use pdloss::loss::{Config, FloorMode, Form};

use crate::{
    error::{Error, Result},
    ort_api::{Attribute, NodeInfo},
    schema::Operator,
};

/// Reads the attributes form, temperature, floor, floor_mode and eps. A node need not name any of them.
///
/// Only the operators that compute a loss take them: what its gradient needs to know comes with the saved state.
pub(crate) fn read(node: &NodeInfo<'_>, operator: Operator) -> Result<Config> {
    let mut config = Config::default();
    match operator {
        Operator::DLoss => config = config.with_form(Form::Inverse),
        Operator::PdLoss | Operator::PdLossWithGrad | Operator::PdLossOverRanks => {}
        _ => return Ok(config),
    }
    if let Some(form) = name::<Form>(node, c"form")? {
        config = config.with_form(form);
    }
    if let Some(mode) = name::<FloorMode>(node, c"floor_mode")? {
        config = config.with_floor_mode(mode);
    }
    if let Some(value) = number(node, c"temperature")? {
        config = config.with_temperature(value).map_err(Error::loss)?;
    }
    if let Some(value) = number(node, c"floor")? {
        config = config.with_floor(value).map_err(Error::loss)?;
    }
    if let Some(value) = number(node, c"eps")? {
        config = config.with_eps(value).map_err(Error::loss)?;
    }
    Ok(config)
}

fn number(node: &NodeInfo<'_>, name: &CStr) -> Result<Option<f64>> {
    match node.attribute(name)? {
        Attribute::Missing => Ok(None),
        // Whoever made the graph wrote a decimal, which is kept as float32: 0.05 must not become 0.0500000007.
        Attribute::Number(value) => Ok(Some(value.to_string().parse().unwrap_or(f64::from(value)))),
        Attribute::Text(text) => Err(wrong(name, format!("wanted a number, got the string '{text}'"))),
    }
}

/// A number as an attribute, or as its decimal in a string where a float32 does not hold that.
pub(crate) fn decimal(node: &NodeInfo<'_>, name: &CStr) -> Result<Option<f64>> {
    match node.attribute(name)? {
        Attribute::Text(text) => {
            let number = text.parse().map_err(|_| wrong(name, format!("wanted a number, got the string '{text}'")))?;
            Ok(Some(number))
        }
        _ => number(node, name),
    }
}

/// A list of integers, or one of them.
pub(crate) fn integers(node: &NodeInfo<'_>, name: &CStr) -> Result<Option<Vec<i64>>> {
    if let Some(values) = node.integers(name)? {
        return Ok(Some(values));
    }
    match node.attribute(name)? {
        Attribute::Missing => Ok(None),
        #[expect(clippy::cast_possible_truncation, reason = "it has no fraction, and is below 2^24")]
        Attribute::Number(value) if value.fract() == 0.0 && value.abs() < 16_777_216.0 => Ok(Some(vec![value as i64])),
        Attribute::Number(value) => Err(wrong(name, format!("wanted integers, got {value}"))),
        Attribute::Text(text) => Err(wrong(name, format!("wanted integers, got the string '{text}'"))),
    }
}

/// A string.
pub(crate) fn text(node: &NodeInfo<'_>, name: &CStr) -> Result<Option<String>> {
    match node.attribute(name)? {
        Attribute::Missing => Ok(None),
        Attribute::Text(text) => Ok(Some(text)),
        Attribute::Number(value) => Err(wrong(name, format!("wanted a string, got the number {value}"))),
    }
}

fn name<T: FromStr<Err = pdloss::loss::Error>>(node: &NodeInfo<'_>, name: &CStr) -> Result<Option<T>> {
    text(node, name)?.map(|text| text.parse().map_err(Error::loss)).transpose()
}

pub(crate) fn wrong(name: &CStr, reason: String) -> Error {
    Error::Attribute { name: name.to_string_lossy().into_owned(), reason }
}
