//! The onnxruntime that the tests were built with.

use std::{env, sync::OnceLock};

use ort::environment::Environment;

/// The one environment of this process.
pub(crate) fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let path =
            env::var("ORT_DYLIB_PATH").ok().or_else(|| option_env!("PDLOSS_TEST_ONNXRUNTIME").map(str::to_owned));
        let path = path.expect("an onnxruntime library: set ORT_DYLIB_PATH");
        ort::init_from(path).expect("the library loads").build().expect("an environment")
    })
}
