//! Readers of other crates, called on bytes that may be anything: where one panics, an error names the file. Where one asks
//! for memory beyond all measure, which ends a process, a program whose allocator asks [`allows`] ends with that error, too.

use std::any::Any;
use std::cell::Cell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use crate::error::{Error, Result};

thread_local! {
    /// Whether this thread is inside a call, so that its panics are errors and print nothing.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}
/// Calls under way on all threads.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
static HOOK: Once = Once::new();
/// The most bytes that one allocation may have while calls are under way.
static MOST_BYTES: AtomicUsize = AtomicUsize::new(usize::MAX);
/// The file of the last call.
static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// One allocation may have this, whatever the file's size, ...
const ROOM: u64 = 1 << 30;
/// ... and this many times the file's size: what is packed takes more room unpacked.
const UNPACKED: u64 = 32;

/// How the threads are called that a reader works on beside the one that called it: polars' pools, and a thread that is made
/// for a reader, which calls itself [`READER`].
const POOLS: [&str; 3] = ["polars-", "async-executor-", READER];

/// The name of a thread that a guarded call makes for itself.
pub const READER: &str = "reader";

/// Whether this thread works for a reader, so that a panic of it becomes an error. Panics of other threads are our own
/// mistakes, and are printed.
fn is_of_a_reader() -> bool {
    let is_pool = || std::thread::current().name().is_some_and(|name| POOLS.iter().any(|pool| name.starts_with(pool)));
    INSIDE.get() || (UNDER_WAY.load(Ordering::SeqCst) > 0 && is_pool())
}

struct Call {
    /// Whether the thread was inside a call before.
    before: bool,
}

impl Call {
    fn begin(path: &Path) -> Self {
        let size = std::fs::metadata(path).map_or(0, |about| about.len());
        let most = usize::try_from(size.saturating_mul(UNPACKED).saturating_add(ROOM)).unwrap_or(usize::MAX);
        *FILE.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.into());
        MOST_BYTES.store(most, Ordering::SeqCst);
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if !is_of_a_reader() {
                    usual(panic);
                }
            }));
        });
        UNDER_WAY.fetch_add(1, Ordering::SeqCst);
        Self { before: INSIDE.replace(true) }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        INSIDE.set(self.before);
        if UNDER_WAY.fetch_sub(1, Ordering::SeqCst) == 1 {
            MOST_BYTES.store(usize::MAX, Ordering::SeqCst);
        }
    }
}

/// Calls a reader that may panic on damaged files. It should own what it changes: after a panic that is dropped.
///
/// # Errors
/// Those of `read`; [`Error::Data`] naming `path` where it panics.
pub fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let call = Call::begin(path);
    let result = catch_unwind(AssertUnwindSafe(read));
    drop(call);
    result.unwrap_or_else(|panic| {
        let problem = "is damaged, or of a kind that its reader does not know";
        Err(Error::data(path, format!("{problem} ({})", words(panic.as_ref()))))
    })
}

/// Whether an allocation of so many bytes is one that a reader may make now; without a call under way any is.
pub fn allows(bytes: usize) -> bool {
    bytes <= MOST_BYTES.load(Ordering::Relaxed)
}

/// Ends the process with the error that the file of the call under way is damaged: an allocator cannot return an error, and
/// a reader that is refused memory aborts. Does nothing without a call under way. Allocates nothing itself.
pub fn end_for_want_of(bytes: usize) {
    if UNDER_WAY.load(Ordering::SeqCst) == 0 {
        return;
    }
    let file = FILE.try_lock().ok();
    let path = file.as_ref().and_then(|file| file.as_deref()).unwrap_or(Path::new("a file"));
    // Nobody reading standard error changes nothing.
    let _ = writeln!(
        std::io::stderr(),
        "error: {}: is damaged: {bytes} bytes of memory are asked for at once to read it",
        path.display()
    );
    std::process::exit(1);
}

/// The first line of a panic's message.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    let line = text.and_then(|text| text.lines().next()).unwrap_or("no message");
    line.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_measured_by_the_file_while_it_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0; 1000]).unwrap();
        let most = (1 << 30) + 32_000;
        // Other tests may be reading another file meanwhile; none of theirs is large.
        guarded(file.path(), || {
            assert!(!allows(most + (1 << 20)) && allows(most - 32_000));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn only_threads_of_the_reader_are_silent() {
        let on = |name: &str| {
            let thread = std::thread::Builder::new().name(name.into());
            thread.spawn(is_of_a_reader).unwrap().join().unwrap()
        };
        assert!(!is_of_a_reader());
        let path = Path::new("some.file");
        let seen = guarded(path, || {
            guarded(path, || Ok(()))?;
            Ok((is_of_a_reader(), on("polars-1"), on(READER), on("decoder")))
        });
        assert_eq!(seen.unwrap(), (true, true, true, false));
        assert!(!is_of_a_reader());
    }

    #[test]
    fn a_panic_is_an_error_of_the_file() {
        let path = Path::new("some.file");
        assert_eq!(guarded(path, || Ok(7)).unwrap(), 7);
        let error = guarded(path, || -> Result<()> { panic!("not {}\nimplemented", "yet") }).unwrap_err();
        let wanted = "some.file: is damaged, or of a kind that its reader does not know (not yet)";
        assert_eq!((error.to_string().as_str(), error.exit_code()), (wanted, 1));
        let error = guarded(path, || -> Result<()> {
            rayon::join(|| panic!("in another thread"), || ());
            Ok(())
        });
        assert!(error.unwrap_err().to_string().contains("in another thread"));
        assert_eq!(UNDER_WAY.load(Ordering::SeqCst), 0);
        let own: Result<()> = guarded(path, || Err(Error::Measure("its own".into())));
        assert_eq!(own.unwrap_err().to_string(), "its own");
    }
}
