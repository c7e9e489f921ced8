//! The threads of the whole process.

/// Makes `count` threads the number of our own pool. It is made once a process: a second call changes nothing.
///
/// ONNX Runtime's and tract's threads are set where their sessions are made.
pub fn set_threads(count: usize) {
    // An error says that the pool is there already.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(count).build_global();
}

/// The processors that this process may use.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The threads that can be asked for: more than any processor has, and few enough for the system to make.
pub fn most_threads() -> usize {
    available_threads().saturating_mul(16).max(256)
}

/// The most memory that this process has held at once, in bytes, as its system says; none where it does not.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

/// The memory that is free for this process, in bytes, as its system says: of the machine, or of the container where that has less.
pub fn free_memory() -> Option<u64> {
    let about = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = about.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let free = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10;
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    Some(limit.and_then(|limit| limit.trim().parse().ok()).map_or(free, |limit: u64| limit.min(free)))
}

/// The machine in words: its processors, and what they are where the system says.
pub fn machine() -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = name.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    format!("{} x {name}", available_threads())
}
