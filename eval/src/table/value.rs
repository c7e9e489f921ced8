//! A value in a row, and the one type that the values of a column agree on.

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use super::schema::{Type, type_of};

/// A value in a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Words.
    Text(String),
    /// A count.
    Whole(u64),
    /// A measure, or seconds.
    Real(f64),
    /// True or false.
    Flag(bool),
    /// Does not apply here.
    Missing,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Whole(count as u64)
    }
}
impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Whole(count)
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}
impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}
impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Value;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text, a number, true, false or null")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(text.into())
            }
            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
                Ok(flag.into())
            }
            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Value, E> {
                Ok(Value::Whole(count))
            }
            #[allow(clippy::cast_precision_loss)] // what is below zero is no count
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
                Ok(u64::try_from(number).map_or(Value::Real(number as f64), Value::Whole))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
                Ok(Value::Real(number))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
                Ok(Value::Missing)
            }
        }
        from.deserialize_any(Scalar)
    }
}

/// The largest count that an f64 has exactly, with all below it.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

impl Value {
    /// As a number, where it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Whole(count) => Some(*count as f64),
            Self::Real(real) => Some(*real),
            Self::Text(_) | Self::Flag(_) | Self::Missing => None,
        }
    }

    /// As a word: a text as it is, a number in its shortest form, nothing for what is missing.
    pub fn word(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Whole(count) => count.to_string(),
            Self::Real(real) => real.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Missing => String::new(),
        }
    }

    /// The value that a cell of a text file has whose column's type is not known.
    pub(super) fn guess(text: &str) -> Self {
        let is_number = text.bytes().any(|byte| byte.is_ascii_digit());
        let has_zero_before = text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        match text {
            "" => Self::Missing,
            "true" => Self::Flag(true),
            "false" => Self::Flag(false),
            _ if has_zero_before || !is_number || text.starts_with('+') => Self::Text(text.into()),
            _ => match (text.parse(), text.parse()) {
                (Ok(count), _) => Self::Whole(count),
                (_, Ok(real)) => Self::Real(real),
                _ => Self::Text(text.into()),
            },
        }
    }

    /// Its own type; `None` for what is missing.
    fn kind(&self) -> Option<Type> {
        match self {
            Self::Text(_) => Some(Type::Text),
            Self::Whole(_) => Some(Type::Whole),
            Self::Real(_) => Some(Type::Real),
            Self::Flag(_) => Some(Type::Flag),
            Self::Missing => None,
        }
    }

    /// The same as a value of a type, or itself where it is none of that type.
    pub(super) fn to_type(&self, kind: Type) -> Result<Self, Self> {
        let own = || Err(self.clone());
        match (kind, self) {
            (_, Self::Missing) | (Type::Setting, _) => Ok(self.clone()),
            (Type::Text, _) => Ok(Self::Text(self.word())),
            (Type::Real, Self::Whole(count)) => Ok(Self::Real(*count as f64)),
            (Type::Real, Self::Text(text)) => text.trim().parse().map(Self::Real).or_else(|_| own()),
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to be a count
            (Type::Whole, Self::Real(real)) if real.fract() == 0.0 && (0.0..=MOST_EXACT).contains(real) => {
                Ok(Self::Whole(*real as u64))
            }
            (Type::Whole, Self::Text(text)) => text.trim().parse().map(Self::Whole).or_else(|_| own()),
            (Type::Flag, Self::Text(text)) => text.trim().parse().map(Self::Flag).or_else(|_| own()),
            _ if self.kind() == Some(kind) => Ok(self.clone()),
            _ => own(),
        }
    }
}

/// The type that a column's values have in common: the schema's, else their own, else text. With where two of them disagree.
pub(super) fn common<'v>(name: &str, values: impl Iterator<Item = &'v Value> + Clone) -> (Type, Option<String>) {
    if let Some(wanted) = type_of(name) {
        let odd = values.clone().find(|value| value.to_type(wanted).is_err());
        return match odd {
            None => (wanted, None),
            Some(odd) => (Type::Text, Some(format!("'{}' is no {}", odd.word(), wanted.word()))),
        };
    }
    let mut found: Option<(Type, &Value)> = None;
    for value in values {
        found = match (found, value.kind()) {
            (None, Some(kind)) => Some((kind, value)),
            (Some((Type::Whole, _)), Some(Type::Real)) => Some((Type::Real, value)),
            (Some((Type::Real, _)), Some(Type::Whole)) => found,
            (Some((before, other)), Some(kind)) if before != kind => {
                let (other, value) = (other.word(), value.word());
                return (Type::Text, Some(format!("'{other}' is a {}, '{value}' a {}", before.word(), kind.word())));
            }
            _ => found,
        };
    }
    (found.map_or(Type::Text, |(kind, _)| kind), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_one_type() {
        let common = |name: &str, values: &[Value]| common(name, values.iter());
        let (whole, real, text) = (Value::Whole(8), Value::Real(0.5), Value::from("8"));
        assert_eq!(common("batch", &[whole.clone(), text.clone(), Value::Missing]), (Type::Whole, None));
        assert_eq!(common("recall@1", &[real.clone(), Value::Whole(1)]), (Type::Real, None));
        assert_eq!(common("colour", &[Value::Missing]), (Type::Text, None));
        assert_eq!(common("colour", &[whole.clone(), real.clone(), whole.clone()]), (Type::Real, None));
        let (kind, doubt) = common("colour", &[whole.clone(), text]);
        assert_eq!((kind, doubt.as_deref()), (Type::Text, Some("'8' is a whole number, '8' a text")));
        let (kind, doubt) = common("recall@1", &[real, "n/a".into()]);
        assert_eq!((kind, doubt.as_deref()), (Type::Text, Some("'n/a' is no real number")));
    }

    #[test]
    fn cells_are_guessed_without_loss() {
        let cases: [(&str, Value); 9] = [
            ("", Value::Missing),
            ("12", Value::Whole(12)),
            ("-1.5e3", Value::Real(-1500.0)),
            ("007", "007".into()),
            ("nan", "nan".into()),
            ("+5", "+5".into()),
            ("true", Value::Flag(true)),
            ("0", Value::Whole(0)),
            ("1_0", "1_0".into()),
        ];
        for (text, value) in cases {
            assert_eq!(Value::guess(text), value, "{text}");
            assert!(value == Value::Real(-1500.0) || value.word() == text);
        }
    }
}
