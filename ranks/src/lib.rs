//! The processes of one run: *ranks* of the world that an MPI launcher (`mpirun`, `srun`, a batch system) made, or the one
//! process that there is without it.
//!
//! A program calls [`join`] once at its start; [`world()`] is what it joined, and a world of one where nobody did. Every rank
//! then makes the same calls in the same order: each of [`World`]'s exchanges waits for all ranks.
//!
//! The feature `mpi` links an MPI library. Without it there are only worlds of one, and a program that a launcher started more
//! than once is told so, instead of doing everything as often.
#![deny(unsafe_code)]

mod launcher;
#[cfg(feature = "mpi")]
mod mpi;
mod world;

pub use launcher::Launch;
pub use world::{Number, World, alone, join, join_as_guest, library, share_of, world};

/// Why there is no world to join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A launcher started several processes, and nothing here can join them.
    #[error(
        "started as one of {count} processes ({variable}), but built without MPI; build it with the feature mpi (cargo install \
         --path train --features mpi, cargo build --workspace --features mpi; it needs an MPI library and mpicc), or take \
         {variable} out of the environment for processes that have nothing to do with each other"
    )]
    Absent {
        /// How many.
        count: usize,
        /// The environment variable that says so.
        variable: &'static str,
    },
    /// A launcher started several processes, and MPI sees one.
    #[error(
        "started as one of {count} processes ({variable}), but MPI ({library}) finds itself alone: launcher and library do not \
         know each other; start it by the library's own mpirun, or srun --mpi=pmix (srun --mpi=list has the others)"
    )]
    Apart {
        /// How many.
        count: usize,
        /// The environment variable that says so.
        variable: &'static str,
        /// The MPI library.
        library: String,
    },
    /// How long ranks are to wait for each other is no time.
    #[error("{variable} is '{text}': wanted a whole number of seconds from 1")]
    Patience {
        /// The environment variable.
        variable: &'static str,
        /// What it holds.
        text: String,
    },
    /// MPI cannot be used in this process.
    #[error("MPI: {0}")]
    Refused(&'static str),
}

/// The result of joining.
pub type Result<T> = std::result::Result<T, Error>;
