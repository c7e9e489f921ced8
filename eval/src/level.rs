//! For which processors the FAISS is that searches. A program has one, or two, of which it takes the one for newer processors where it
//! runs on such: `.cargo/faiss-levels.cpp` does it before `main`, by the rule that is said here again.

use std::ffi::OsStr;

use crate::{Error, Result};

/// Names of levels from the lowest on, by the build script.
const BUILT: &str = env!("PDLOSS_FAISS_LEVELS");
/// What can be asked for the lowest.
const VARIABLE: &str = "PDLOSS_FAISS";

/// The level of the FAISS that this process uses: `x86-64`, `x86-64-v3` (AVX2 and FMA), or what it was compiled for alone.
pub fn level() -> &'static str {
    chosen(BUILT, std::env::var_os(VARIABLE).as_deref(), is_v3())
}

/// The level, and what else there would be.
pub(crate) fn in_words() -> String {
    let level = level();
    match BUILT.split_once(' ') {
        None => format!("FAISS for {level}"),
        Some((lower, _)) if lower == level => format!("FAISS for {level}, having another one for newer processors"),
        Some((lower, _)) => format!("FAISS for {level} ({VARIABLE}={lower}: the one for older processors)"),
    }
}

/// Refuses a level that was asked for and cannot be had: [`level`] would be another.
///
/// # Errors
/// [`Error::Usage`] naming those that there are.
pub(crate) fn check() -> Result<()> {
    refusal(BUILT, std::env::var_os(VARIABLE).as_deref(), is_v3()).map_or(Ok(()), |text| Err(Error::Usage(text)))
}

fn chosen<'b>(built: &'b str, asked: Option<&OsStr>, is_v3: bool) -> &'b str {
    match built.split_once(' ') {
        Some((lower, _)) if !is_v3 || asked.is_some_and(|asked| asked == lower) => lower,
        Some((_, higher)) => higher,
        None => built,
    }
}

fn refusal(built: &str, asked: Option<&OsStr>, is_v3: bool) -> Option<String> {
    let asked = asked.filter(|asked| !asked.is_empty())?;
    let asked_for = asked.to_string_lossy();
    if !built.split(' ').any(|level| asked == level) {
        let there = built.replace(' ', " and ");
        return Some(format!(
            "{VARIABLE}={asked_for}: this program has FAISS for {there}; unset it, or name one of these"
        ));
    }
    let is_higher = built.split_once(' ').is_some_and(|(_, higher)| asked == higher);
    (is_higher && !is_v3)
        .then(|| format!("{VARIABLE}={asked_for}: this processor has not all of {asked_for}; unset it"))
}

#[cfg(target_arch = "x86_64")]
fn is_v3() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx")
        && has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("f16c")
        && has!("fma")
        && has!("lzcnt")
        && has!("movbe")
}

#[cfg(not(target_arch = "x86_64"))]
fn is_v3() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_higher_level_is_taken_where_it_runs_and_nobody_asks_for_the_lower() {
        let both = "x86-64 x86-64-v3";
        let chosen = |built: &'static str, asked: Option<&str>, is_v3| chosen(built, asked.map(OsStr::new), is_v3);
        assert_eq!(chosen(both, None, true), "x86-64-v3");
        assert_eq!(chosen(both, None, false), "x86-64");
        assert_eq!(chosen(both, Some("x86-64"), true), "x86-64");
        assert_eq!(chosen(both, Some(""), true), "x86-64-v3");
        assert_eq!(chosen(both, Some("x86-64-v3"), true), "x86-64-v3");
        for alone in ["x86-64", "native"] {
            assert_eq!([true, false].map(|is_v3| chosen(alone, None, is_v3)), [alone; 2]);
        }
    }

    #[test]
    fn a_level_that_cannot_be_had_is_refused_with_those_that_can() {
        let both = "x86-64 x86-64-v3";
        let refusal = |built: &str, asked: &str, is_v3| refusal(built, Some(OsStr::new(asked)), is_v3);
        for asked in ["", "x86-64", "x86-64-v3"] {
            assert_eq!(refusal(both, asked, true), None, "{asked}");
        }
        let unknown = refusal(both, "avx2", true).unwrap_or_default();
        assert!(unknown.contains("PDLOSS_FAISS=avx2") && unknown.contains("x86-64 and x86-64-v3"), "{unknown}");
        assert!(refusal("x86-64", "x86-64-v3", true).unwrap_or_default().contains("has FAISS for x86-64;"));
        assert!(refusal(both, "x86-64-v3", false).unwrap_or_default().contains("this processor"));
    }

    #[test]
    fn this_program_knows_its_level() {
        assert!(BUILT.split(' ').any(|built| built == level()), "{BUILT}: {}", level());
        assert!(in_words().starts_with("FAISS for "));
    }
}
