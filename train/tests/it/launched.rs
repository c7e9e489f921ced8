//! The program under a launcher of several processes, built without MPI.
#![cfg(not(feature = "mpi"))]

use crate::tools::{Place, fixtures, program, succeeds, text};

/// Variables of launchers, out of whatever environment the tests run in.
const VARIABLES: [&str; 7] = [
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_STEP_ID",
    "SLURM_PROCID",
];

fn launched(variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut program = program();
    for name in VARIABLES {
        program.env_remove(name);
    }
    let output = program.envs(variables.iter().copied()).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn one_of_several_processes_says_how_to_build_it_and_writes_nothing() {
    let (place, model, shapes) = (Place::new(), fixtures().join("backbone.onnx"), fixtures().join("shapes"));
    let out = &place.out;
    let train = ["train", "--model", text(&model), "--data", text(&shapes), "--out", text(out)];
    let step = [("SLURM_STEP_ID", "0"), ("SLURM_PROCID", "1"), ("SLURM_STEP_NUM_TASKS", "4")];
    for variables in [&[("OMPI_COMM_WORLD_SIZE", "4")][..], &[("PMI_SIZE", "4")], &step] {
        for arguments in [&train[..], &["recall", "--model", text(&model), "--data", text(&shapes)]] {
            let (code, error) = launched(variables, arguments);
            assert_eq!(code, Some(1), "{error}");
            let says = ["started as one of 4 processes", "--features mpi"];
            assert!(says.iter().all(|words| error.contains(words)), "{error}");
        }
    }
    assert!(!out.exists());
}

#[test]
fn a_batch_script_runs_once_and_help_is_given_under_any_launcher() {
    let batch = [("SLURM_JOB_ID", "7"), ("SLURM_NTASKS", "4"), ("SLURM_PROCID", "0")];
    let (code, error) = launched(&batch, &["train", "--model", "nowhere.onnx", "--data", "x", "--out", "y"]);
    assert!(code == Some(1) && !error.contains("processes") && error.contains("nowhere.onnx"), "{error}");
    assert_eq!(launched(&[("OMPI_COMM_WORLD_SIZE", "4")], &["train", "--help"]).0, Some(0));
}

#[test]
fn the_version_says_whether_mpi_is_in() {
    assert!(succeeds(&["--version"]).ends_with("\nwithout MPI (the feature mpi adds it)\n"));
    assert_eq!(succeeds(&["-V"]).lines().count(), 1);
}
