//! With the feature `mpi`: compiles the calls of MPI and links its library, as `mpicc` has it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "mpi")]
    mpi();
}

#[cfg(feature = "mpi")]
fn mpi() {
    println!("cargo:rerun-if-changed=src/mpi.c");
    println!("cargo:rerun-if-env-changed=MPICC");
    let library = build_probe_mpi::probe().unwrap_or_else(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!(
            "feature mpi: no MPI library is found ({}); install one with its headers (Debian: libopenmpi-dev \
             openmpi-bin), or name its compiler by MPICC",
            errors.join("; ")
        )
    });
    // Handles and constants of MPI are macros that differ between libraries, so that the calls are written in C.
    cc::Build::new().file("src/mpi.c").includes(&library.include_paths).warnings(true).compile("pdloss_ranks_mpi");
    library.lib_paths.iter().for_each(|path| println!("cargo:rustc-link-search=native={}", path.display()));
    library.libs.iter().for_each(|name| println!("cargo:rustc-link-lib={name}"));
}
