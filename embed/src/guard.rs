//! Readers of other crates, called on bytes that may be anything: where one panics, an error names the file.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// Calls under way. While there are any, panics print nothing: a reader may use threads of its own, so that the thread of a
/// panic does not tell whose it is.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
static HOOK: Once = Once::new();

struct Call;

impl Call {
    fn begin() -> Self {
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if UNDER_WAY.load(Ordering::SeqCst) == 0 {
                    usual(panic);
                }
            }));
        });
        UNDER_WAY.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Calls a reader that may panic on damaged files. It should own what it changes: after a panic that is dropped.
///
/// # Errors
/// Those of `read`; [`Error::Data`] naming `path` where it panics.
pub fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let call = Call::begin();
    let result = catch_unwind(AssertUnwindSafe(read));
    drop(call);
    result.unwrap_or_else(|panic| {
        let problem = "is damaged, or of a kind that its reader does not know";
        Err(Error::data(path, format!("{problem} ({})", words(panic.as_ref()))))
    })
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
