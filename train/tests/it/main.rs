//! The program from outside, in one test program. A table of contents:
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

mod apart;
mod changed;
mod command_line;
mod ends;
mod export;
mod exports;
mod help;
mod killed;
mod launched;
mod losses;
mod memory;
mod numbers;
mod options;
mod pairs;
mod precision;
mod providers;
mod reference;
mod samplers;
mod tools;
mod training;
mod validation;
mod weights;
