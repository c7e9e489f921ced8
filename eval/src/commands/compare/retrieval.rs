//! Two recall runs, query by query or class by class.

use std::collections::HashMap;

use super::{By, Comparison, Figure};
use crate::metrics::significance::{Resampling, Units, paired};
use crate::runs::{Query, Retrieved};
use crate::{Error, Result};

/// Recall@K, R-precision and MAP@R.
pub(super) fn retrieval(
    a: &Retrieved,
    b: &Retrieved,
    ks: &[usize],
    by: Option<By>,
    how: &Resampling,
) -> Result<Comparison> {
    let by_class = match by {
        None | Some(By::Query) => false,
        Some(By::Class) => true,
        Some(By::Pair | By::Subject) => {
            return Err(Error::Usage("--by: these are recall runs, which have queries and classes".into()));
        }
    };
    let names = ks.iter().map(|k| format!("recall@{k}")).chain(["r_precision".into(), "map@r".into()]);
    let names: Vec<String> = names.collect();
    let figures = |q: &Query| -> Vec<f64> {
        let hit = |&k: &usize| f64::from(u8::from(q.first_hit.is_some_and(|rank| rank as usize <= k)));
        ks.iter().map(hit).chain([q.r_precision, q.ap_at_r]).collect()
    };
    let means = |of: &Retrieved| -> Vec<f64> {
        let mut sums = vec![0.0; names.len()];
        let each = of.queries.iter().map(figures);
        each.for_each(|values| sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value));
        sums.into_iter().map(|sum| sum / of.queries.len() as f64).collect()
    };
    let mut units = Units::new(1 + names.len());
    let mut classes: HashMap<&str, usize> = HashMap::new();
    for (a, b) in a.queries.iter().zip(&b.queries) {
        let differences = figures(b).into_iter().zip(figures(a)).map(|(b, a)| b - a);
        let parts: Vec<f64> = [1.0].into_iter().chain(differences).collect();
        let exchanged: Vec<f64> = parts.iter().enumerate().map(|(at, &v)| if at == 0 { v } else { -v }).collect();
        match classes.get(a.class.as_str()).filter(|_| by_class) {
            Some(&unit) => units.add(unit, &parts, &exchanged),
            None => {
                classes.insert(&a.class, units.len());
                units.push(&parts, &exchanged);
            }
        }
    }
    let statistics = |sums: &[f64]| sums[1..].iter().map(|sum| sum / sums[0]).collect();
    let differences = paired(&units, &statistics, how);
    let figure = |(((name, a), b), difference)| Figure { name, a, b, difference };
    Ok(Comparison {
        figures: names.clone().into_iter().zip(means(a)).zip(means(b)).zip(differences).map(figure).collect(),
        units: units.len(),
        of: if by_class { "classes" } else { "queries" },
        test: if by_class {
            "paired randomisation, models exchanged class by class"
        } else {
            "paired randomisation, models exchanged query by query"
        },
        notes: Vec::new(),
    })
}
