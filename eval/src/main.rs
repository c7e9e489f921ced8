//! `pdloss-eval`, a program over its library.

use std::process::ExitCode;

use pdloss_eval::process::Allocator;

/// Runs before any library's own start.
// SAFETY: entries of this section are pointers to functions without arguments or results that matter, which this is; it
// needs nothing that a library's start provides.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".preinit_array")]
static CHECK: extern "C" fn() = pdloss_eval::process::check_address_space;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    pdloss_eval::commands::main()
}
