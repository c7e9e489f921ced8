//! What a launcher says of itself in the environment of the processes that it starts.

/// A process that a launcher started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// How many processes it started together.
    pub count: usize,
    /// The environment variable that says so.
    pub variable: &'static str,
}

/// Variables that hold the number of processes: of Open MPI's `mpirun`, of Hydra (MPICH, Intel MPI), of MVAPICH.
const COUNTS: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"];
/// That of `srun`, for the tasks of one step. `SLURM_NTASKS` is of the whole job, and there in the script of a batch job, too,
/// which runs once.
const OF_STEP: &str = "SLURM_STEP_NUM_TASKS";
/// What a task of a step has beside it.
const BESIDE_STEP: [&str; 2] = ["SLURM_STEP_ID", "SLURM_PROCID"];

/// The variable that holds how many seconds ranks wait for each other.
#[cfg(any(feature = "mpi", test))]
pub(crate) const PATIENCE: &str = "PDLOSS_RANKS_TIMEOUT";
/// Where it is not set: longer than any of them works alone.
#[cfg(any(feature = "mpi", test))]
const USUAL_PATIENCE: u64 = 7200;

/// How many seconds ranks wait for each other.
#[cfg(any(feature = "mpi", test))]
pub(crate) fn patience(set: Option<std::ffi::OsString>) -> crate::Result<u64> {
    let Some(text) = set else { return Ok(USUAL_PATIENCE) };
    let seconds = text.to_str().and_then(|text| text.parse().ok()).filter(|&seconds| seconds > 0);
    seconds.ok_or_else(|| crate::Error::Patience { variable: PATIENCE, text: text.to_string_lossy().into_owned() })
}

impl Launch {
    /// What the environment of this process says; `None` where no launcher started it.
    pub fn of_process() -> Option<Self> {
        Self::of(&|name| std::env::var(name).ok())
    }

    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let count = |name: &'static str| {
            let count = variable(name)?.trim().parse().ok()?;
            Some(Self { count, variable: name })
        };
        let of_step = || BESIDE_STEP.iter().all(|name| variable(name).is_some()).then(|| count(OF_STEP)).flatten();
        COUNTS.into_iter().find_map(count).or_else(of_step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<(usize, &'static str)> {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Launch::of(&find).map(|launch| (launch.count, launch.variable))
    }

    #[test]
    fn every_launcher_is_known_by_its_variable() {
        for name in COUNTS {
            assert_eq!(of(&[(name, "4")]), Some((4, name)));
        }
        let step =
            [("SLURM_STEP_ID", "0"), ("SLURM_PROCID", "1"), ("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_NTASKS", "2")];
        assert_eq!(of(&step), Some((2, "SLURM_STEP_NUM_TASKS")));
        // mpirun inside a step of srun: one process a node by srun, four by mpirun.
        assert_eq!(of(&[&step[..], &[("OMPI_COMM_WORLD_SIZE", "4")]].concat()), Some((4, "OMPI_COMM_WORLD_SIZE")));
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        let of = |text: &str| patience(Some(text.into())).map_err(|error| error.to_string());
        assert_eq!((patience(None), of("15")), (Ok(7200), Ok(15)));
        for text in ["", "0", "-1", "1.5", "2h"] {
            let error = of(text).unwrap_err();
            assert!(error.contains("PDLOSS_RANKS_TIMEOUT") && error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_batch_script_and_a_plain_shell_are_no_launch() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("SLURM_JOB_ID", "7"), ("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0")]), None);
        assert_eq!(of(&[("SLURM_NTASKS", "8"), ("SLURM_STEP_NUM_TASKS", "8")]), None);
        assert_eq!(of(&[("PMI_SIZE", "many")]), None);
    }
}
