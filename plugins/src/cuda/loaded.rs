//! What this process has loaded, where the system tells it: on Linux alone.

/// The path of the loaded library with this file name.
#[cfg(target_os = "linux")]
pub(super) fn path_of(name: &str) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    paths.into_iter().find(|path| path.rsplit('/').next() == Some(name)).map(str::to_owned)
}

/// The path of the loaded library with this file name: not known here.
#[cfg(not(target_os = "linux"))]
pub(super) fn path_of(_name: &str) -> Option<String> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::path_of;

    #[test]
    fn a_loaded_library_is_found_by_its_whole_name() {
        assert!(path_of("libc.so.6").is_some_and(|path| path.ends_with("/libc.so.6")));
        assert_eq!(path_of("c.so.6"), None);
    }
}
