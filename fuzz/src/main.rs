//! libFuzzer on the target that the environment variable `PDLOSS_FUZZ_TARGET` names; see `fuzz/run.sh`.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("PDLOSS_FUZZ_TARGET").unwrap_or_default();
    let found = pdloss_fuzz::TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("PDLOSS_FUZZ_TARGET is '{name}'; see pdloss_fuzz::TARGETS")).1
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
