//! The calls of `mpi.c`, safe: lengths are checked here, and only one call is under way at a time.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_ulonglong, c_void};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn pdloss_ranks_begun() -> c_int;
    fn pdloss_ranks_join(
        rank: *mut c_int,
        size: *mut c_int,
        local: *mut c_int,
        host: *mut c_char,
        room: c_int,
        is_guest: c_int,
    ) -> c_int;
    fn pdloss_ranks_meet();
    fn pdloss_ranks_gather(
        own: *const c_void,
        all: *mut c_void,
        counts: *const c_int,
        offsets: *const c_int,
        rank: c_int,
    );
    fn pdloss_ranks_collect(
        own: *const c_void,
        all: *mut c_void,
        counts: *const c_int,
        offsets: *const c_int,
        rank: c_int,
    );
    fn pdloss_ranks_broadcast(bytes: *mut c_void, count: c_int);
    fn pdloss_ranks_sum_f32(values: *mut f32, count: c_int);
    fn pdloss_ranks_sum_f64(values: *mut f64, count: c_int);
    fn pdloss_ranks_sum_u64(values: *mut c_ulonglong, count: c_int);
    fn pdloss_ranks_pass(
        give: *const c_void,
        give_count: c_int,
        to: c_int,
        take: *mut c_void,
        take_count: c_int,
        from: c_int,
    );
    fn pdloss_ranks_abort(code: c_int);
    fn pdloss_ranks_finish();
    fn pdloss_ranks_library(text: *mut c_char, room: c_int);
}

/// Where this process is.
pub(crate) struct Place {
    pub(crate) rank: usize,
    pub(crate) size: usize,
    pub(crate) local_rank: usize,
    pub(crate) host: String,
}

/// MPI is asked for calls one at a time (`MPI_THREAD_SERIALIZED`), whichever thread makes them.
static TURN: Mutex<()> = Mutex::new(());

/// A call under way.
struct Turn {
    _one: MutexGuard<'static, ()>,
}

fn turn() -> Turn {
    let one = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    SINCE.store(millis().max(1), Ordering::Relaxed);
    Turn { _one: one }
}

impl Drop for Turn {
    fn drop(&mut self) {
        SINCE.store(0, Ordering::Relaxed);
    }
}

/// When the call under way began, as [`millis`] has it; 0 where there is none.
static SINCE: AtomicU64 = AtomicU64::new(0);

/// Milliseconds since this was first asked.
fn millis() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGAN.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Ends all ranks where a call takes longer than `patience` seconds: MPI itself waits for ever for one that cannot be reached.
fn watch(rank: usize, host: String, patience: u64) {
    let variable = crate::launcher::PATIENCE;
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let since = SINCE.load(Ordering::Relaxed);
            let waited = millis().saturating_sub(since) / 1000;
            if since > 0 && waited >= patience {
                // Nobody reading standard error changes nothing.
                let _ = writeln!(
                    std::io::stderr(),
                    "error: rank {rank} on {host}: another rank has not answered for {waited} s; it is gone, or the network to it \
                     is ({variable} is the time in seconds)"
                );
                abort(1);
            }
        }
    });
}

fn int(count: usize) -> c_int {
    c_int::try_from(count).expect("callers cut exchanges into parts below 2^31")
}

fn text(write: impl FnOnce(*mut c_char, c_int)) -> String {
    let mut bytes = [0_u8; 512];
    write(bytes.as_mut_ptr().cast(), int(bytes.len()));
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Whether the host of this library has initialised MPI.
pub(crate) fn is_begun() -> bool {
    // SAFETY: `MPI_Initialized` may be called at any time.
    unsafe { pdloss_ranks_begun() != 0 }
}

/// Joins the world, initialising MPI where nobody has; a guest finalises it then when the process ends. Ranks wait `patience`
/// seconds for each other.
pub(crate) fn join(is_guest: bool, patience: u64) -> Result<Place, &'static str> {
    let _turn = turn();
    let (mut rank, mut size, mut local, mut status) = (0, 0, 0, 0);
    let host = text(|bytes, room| {
        // SAFETY: the three numbers are written to; at most `room` bytes of `bytes`, with a zero at their end.
        status = unsafe {
            pdloss_ranks_join(&raw mut rank, &raw mut size, &raw mut local, bytes, room, c_int::from(is_guest))
        };
    });
    let number = |value: c_int| usize::try_from(value).unwrap_or(0);
    match status {
        0 => {
            if size > 1 {
                watch(number(rank), host.clone(), patience);
            }
            Ok(Place { rank: number(rank), size: number(size), local_rank: number(local), host })
        }
        1 => Err("was finalised before the world was joined"),
        _ => Err("the host initialised it for one thread only; wanted MPI_THREAD_SERIALIZED or MULTIPLE"),
    }
}

/// Waits until every rank is here.
pub(crate) fn meet() {
    let _turn = turn();
    // SAFETY: the world is joined.
    unsafe { pdloss_ranks_meet() }
}

/// Where each rank's bytes begin in what is gathered, and how many they are.
fn places(counts: &[usize]) -> (Vec<c_int>, Vec<c_int>) {
    let offsets = counts.iter().scan(0, |at, &count| Some(std::mem::replace(at, *at + int(count))));
    (offsets.collect(), counts.iter().map(|&count| int(count)).collect())
}

/// `counts[r]` bytes of each rank r into `all` of the first rank, one after the other.
pub(crate) fn collect(own: &[u8], all: &mut [u8], counts: &[usize], rank: usize) {
    assert_eq!(all.len(), if rank == 0 { counts.iter().sum::<usize>() } else { 0 });
    assert_eq!(own.len(), counts[rank]);
    let (offsets, counts) = places(counts);
    let _turn = turn();
    // SAFETY: `all` of the first rank has room for the sum of the counts, and no other is written to; `own` has this rank's count;
    // callers give one count a rank of the world.
    unsafe {
        pdloss_ranks_collect(
            own.as_ptr().cast(),
            all.as_mut_ptr().cast(),
            counts.as_ptr(),
            offsets.as_ptr(),
            int(rank),
        );
    }
}

/// `counts[r]` bytes of each rank r into `all`, one after the other.
pub(crate) fn gather(own: &[u8], all: &mut [u8], counts: &[usize], rank: usize) {
    assert_eq!(all.len(), counts.iter().sum::<usize>());
    assert_eq!(own.len(), counts[rank]);
    let (offsets, counts) = places(counts);
    let _turn = turn();
    // SAFETY: `all` has room for the sum of the counts, `own` for this rank's; callers give one count a rank of the world.
    unsafe {
        pdloss_ranks_gather(own.as_ptr().cast(), all.as_mut_ptr().cast(), counts.as_ptr(), offsets.as_ptr(), int(rank));
    }
}

pub(crate) fn broadcast(bytes: &mut [u8]) {
    let _turn = turn();
    // SAFETY: pointer and count are those of one slice.
    unsafe { pdloss_ranks_broadcast(bytes.as_mut_ptr().cast(), int(bytes.len())) }
}

pub(crate) fn sum_f32(values: &mut [f32]) {
    let _turn = turn();
    // SAFETY: pointer and count are those of one slice.
    unsafe { pdloss_ranks_sum_f32(values.as_mut_ptr(), int(values.len())) }
}

pub(crate) fn sum_f64(values: &mut [f64]) {
    let _turn = turn();
    // SAFETY: pointer and count are those of one slice.
    unsafe { pdloss_ranks_sum_f64(values.as_mut_ptr(), int(values.len())) }
}

pub(crate) fn sum_u64(values: &mut [u64]) {
    let _turn = turn();
    // SAFETY: pointer and count are those of one slice.
    unsafe { pdloss_ranks_sum_u64(values.as_mut_ptr(), int(values.len())) }
}

pub(crate) fn pass((give, to): (&[u8], usize), (take, from): (&mut [u8], usize)) {
    let _turn = turn();
    // SAFETY: pointers and counts are those of two slices, of which the second is ours alone.
    unsafe {
        pdloss_ranks_pass(
            give.as_ptr().cast(),
            int(give.len()),
            int(to),
            take.as_mut_ptr().cast(),
            int(take.len()),
            int(from),
        );
    }
}

/// Ends all ranks. No turn is waited for: the call that another thread is in may never come back.
pub(crate) fn abort(code: u8) {
    // SAFETY: MPI is initialised, as a world of several ranks is; what an exchange under way leaves matters to nobody.
    unsafe { pdloss_ranks_abort(c_int::from(code)) }
}

pub(crate) fn finish() {
    let _turn = turn();
    // SAFETY: does nothing where it was done.
    unsafe { pdloss_ranks_finish() }
}

/// Name and version of the MPI library.
pub(crate) fn library() -> String {
    // SAFETY: `MPI_Get_library_version` may be called at any time; at most `room` bytes are written.
    text(|bytes, room| unsafe { pdloss_ranks_library(bytes, room) })
}
