//! The world that this process is in, and what its ranks exchange.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::launcher::Launch;
use crate::{Error, Result};

/// The ranks of a run, seen from one of them.
///
/// Exchanges are collective: each call waits until every rank has made it. They are made one at a time.
#[derive(Debug)]
pub struct World {
    rank: usize,
    size: usize,
    local_rank: usize,
    host: String,
    /// Bytes that this rank has given to exchanges.
    given: AtomicU64,
}

/// The part of one of `size` ranks in `count` things in order: contiguous, and of a size that differs by one at most.
#[allow(clippy::cast_possible_truncation)] // not above `count`
pub fn share_of(rank: usize, size: usize, count: usize) -> std::ops::Range<usize> {
    let bound = |rank: usize| (rank as u128 * count as u128 / size as u128) as usize;
    bound(rank)..bound(rank + 1)
}

static WORLD: OnceLock<Result<World>> = OnceLock::new();
static ALONE: World = World { rank: 0, size: 1, local_rank: 0, host: String::new(), given: AtomicU64::new(0) };

/// Joins the world that a launcher made, once a process; alone it is a world of one.
///
/// # Errors
/// Where a launcher started several processes that cannot be joined: built without MPI, or under another MPI's launcher.
pub fn join() -> Result<&'static World> {
    WORLD.get_or_init(|| enter(Launch::of_process(), false)).as_ref().map_err(Clone::clone)
}

/// [`join`] for a library in a program that knows nothing of it: where nobody has initialised MPI, it is finalised when the
/// process ends.
///
/// # Errors
/// As [`join`].
pub fn join_as_guest() -> Result<&'static World> {
    WORLD.get_or_init(|| enter(Launch::of_process(), true)).as_ref().map_err(Clone::clone)
}

/// The world that this process has joined; one of its own where it has not.
pub fn world() -> &'static World {
    WORLD.get().and_then(|joined| joined.as_ref().ok()).unwrap_or(&ALONE)
}

/// A world of this process alone, for work that one rank does while the others do something else.
pub fn alone() -> &'static World {
    &ALONE
}

/// Name and version of the MPI library that this is built with.
pub fn library() -> Option<String> {
    #[cfg(feature = "mpi")]
    return Some(crate::mpi::library());
    #[cfg(not(feature = "mpi"))]
    None
}

#[cfg(not(feature = "mpi"))]
fn enter(launch: Option<Launch>, _: bool) -> Result<World> {
    match launch {
        Some(Launch { count, variable }) if count > 1 => Err(Error::Absent { count, variable }),
        _ => Ok(World { host: String::new(), given: AtomicU64::new(0), ..ALONE }),
    }
}

#[cfg(feature = "mpi")]
fn enter(launch: Option<Launch>, is_guest: bool) -> Result<World> {
    // A singleton's own start of MPI takes a while and may want a daemon: only where somebody is to be joined, or has begun.
    if launch.is_none() && !crate::mpi::is_begun() {
        return Ok(World { host: String::new(), given: AtomicU64::new(0), ..ALONE });
    }
    let patience = crate::launcher::patience(std::env::var_os(crate::launcher::PATIENCE))?;
    let joined = crate::mpi::join(is_guest, patience).map_err(Error::Refused)?;
    let crate::mpi::Place { rank, size, local_rank, host } = joined;
    match launch {
        Some(Launch { count, variable }) if count > 1 && size == 1 => {
            Err(Error::Apart { count, variable, library: crate::mpi::library() })
        }
        _ => Ok(World { rank, size, local_rank, host, given: AtomicU64::new(0) }),
    }
}

impl World {
    /// The number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many processes there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this is the rank that speaks and writes for all.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// Whether there is nobody else.
    pub fn is_alone(&self) -> bool {
        self.size == 1
    }

    /// The number of this process among those on its machine.
    pub fn local_rank(&self) -> usize {
        self.local_rank
    }

    /// The machine, by the name that MPI has for it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// This rank's part of `count` things in order: contiguous, and of a size that differs by one at most.
    pub fn share(&self, count: usize) -> std::ops::Range<usize> {
        self.share_of(self.rank, count)
    }

    /// The part of another rank, as [`World::share`].
    pub fn share_of(&self, rank: usize, count: usize) -> std::ops::Range<usize> {
        share_of(rank, self.size, count)
    }

    /// Bytes that this rank has given to exchanges so far.
    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    fn count(&self, bytes: usize) {
        if self.size > 1 {
            self.given.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// The bytes of every rank, in rank order, on every rank; their lengths may differ.
    pub fn gather(&self, own: &[u8]) -> Vec<Vec<u8>> {
        if self.is_alone() {
            return vec![own.to_vec()];
        }
        let lengths = self.lengths(own.len());
        self.count(own.len());
        let mut all: Vec<Vec<u8>> = lengths.iter().map(|&length| Vec::with_capacity(length)).collect();
        // Counts of MPI have 31 bits.
        let most = (1 << 30) / self.size;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        for first in (0..longest).step_by(most) {
            let part = |length: usize| first.min(length)..(first + most).min(length);
            let counts: Vec<usize> = lengths.iter().map(|&length| part(length).len()).collect();
            let mut buffer = vec![0; counts.iter().sum()];
            self.gather_into(&own[part(own.len())], &mut buffer, &counts);
            let mut rest = buffer.as_slice();
            for (all, &count) in all.iter_mut().zip(&counts) {
                let (part, others) = rest.split_at(count);
                all.extend_from_slice(part);
                rest = others;
            }
        }
        all
    }

    /// The bytes of every rank, one rank's after the other's, on the first rank; the others get none. At most 1 GiB in all.
    pub fn collect(&self, own: &[u8]) -> Vec<u8> {
        if self.is_alone() {
            return own.to_vec();
        }
        let lengths = self.lengths(own.len());
        if lengths.iter().all(|&length| length == 0) {
            return Vec::new();
        }
        if !self.is_first() {
            self.count(own.len());
        }
        let mut all = vec![0; if self.is_first() { lengths.iter().sum() } else { 0 }];
        self.collect_into(own, &mut all, &lengths);
        all
    }

    /// A number of every rank, in rank order.
    pub fn gather_numbers(&self, own: u64) -> Vec<u64> {
        if self.is_alone() {
            return vec![own];
        }
        let mut all = vec![0; 8 * self.size];
        self.count(8);
        self.meet();
        self.gather_into(&own.to_ne_bytes(), &mut all, &vec![8; self.size]);
        all.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect()
    }

    fn lengths(&self, own: usize) -> Vec<usize> {
        let length = |length| usize::try_from(length).expect("lengths of memory");
        self.gather_numbers(own as u64).into_iter().map(length).collect()
    }

    /// The first rank's bytes, on every rank.
    pub fn broadcast(&self, own: Vec<u8>) -> Vec<u8> {
        if self.is_alone() {
            return own;
        }
        let length = self.lengths(own.len())[0];
        let mut bytes = if self.is_first() { own } else { vec![0; length] };
        if self.is_first() {
            self.count(length);
        }
        for part in bytes.chunks_mut(1 << 30) {
            self.broadcast_into(part);
        }
        bytes
    }

    /// Waits for all ranks, and says whether this holds on any of them.
    pub fn any(&self, is_so: bool) -> bool {
        self.gather_numbers(u64::from(is_so)).iter().any(|&number| number != 0)
    }
}

/// Numbers that ranks can add up.
pub trait Number: Copy {
    /// Adds up the values of all ranks, place by place.
    fn sum(world: &World, values: &mut [Self]);
}

macro_rules! number {
    ($($type:ty, $sum:ident);* $(;)?) => {$(
        impl Number for $type {
            fn sum(world: &World, values: &mut [Self]) {
                if world.is_alone() {
                    return;
                }
                world.count(size_of_val(values));
                world.meet();
                for part in values.chunks_mut(1 << 28) {
                    #[cfg(feature = "mpi")]
                    crate::mpi::$sum(part);
                    #[cfg(not(feature = "mpi"))]
                    unreachable!("a world of one has nobody to add {part:?}");
                }
            }
        }
    )*};
}
number!(f32, sum_f32; f64, sum_f64; u64, sum_u64);

impl World {
    /// Adds up the values of all ranks, place by place; every rank gets the same bits, and the same ranks give them again.
    pub fn sum<T: Number>(&self, values: &mut [T]) {
        T::sum(self, values);
    }

    /// Gives bytes to the next rank of the ring, and takes those of the one before.
    pub fn pass(&self, give: &[u8]) -> Vec<u8> {
        if self.is_alone() {
            return give.to_vec();
        }
        let before = (self.rank + self.size - 1) % self.size;
        let mut taken = vec![0; self.lengths(give.len())[before]];
        self.count(give.len());
        let most = 1 << 30;
        let longest = give.len().max(taken.len());
        for first in (0..longest).step_by(most) {
            let part = |length: usize| first.min(length)..(first + most).min(length);
            let (given, took) = (part(give.len()), part(taken.len()));
            self.pass_into(&give[given], &mut taken[took]);
        }
        taken
    }

    /// Waits until every rank is here.
    fn meet(&self) {
        #[cfg(feature = "mpi")]
        if self.size > 1 {
            crate::mpi::meet();
        }
    }

    #[cfg(feature = "mpi")]
    fn gather_into(&self, own: &[u8], all: &mut [u8], counts: &[usize]) {
        crate::mpi::gather(own, all, counts, self.rank);
    }

    #[cfg(feature = "mpi")]
    fn collect_into(&self, own: &[u8], all: &mut [u8], counts: &[usize]) {
        crate::mpi::collect(own, all, counts, self.rank);
    }

    #[cfg(feature = "mpi")]
    fn broadcast_into(&self, bytes: &mut [u8]) {
        crate::mpi::broadcast(bytes);
    }

    #[cfg(feature = "mpi")]
    fn pass_into(&self, give: &[u8], take: &mut [u8]) {
        let (to, from) = ((self.rank + 1) % self.size, (self.rank + self.size - 1) % self.size);
        crate::mpi::pass((give, to), (take, from));
    }

    /// Ends all ranks at once with this exit code, where there are others; else it comes back.
    pub fn abort(&self, code: u8) {
        #[cfg(feature = "mpi")]
        if self.size > 1 {
            crate::mpi::abort(code);
        }
        let _ = code;
    }

    /// Leaves the world: the last call of a process whose ranks all end.
    pub fn finish(&self) {
        #[cfg(feature = "mpi")]
        if self.size > 1 {
            crate::mpi::finish();
        }
    }

    #[cfg(not(feature = "mpi"))]
    fn gather_into(&self, own: &[u8], all: &mut [u8], _: &[usize]) {
        all.copy_from_slice(own);
    }

    #[cfg(not(feature = "mpi"))]
    fn collect_into(&self, own: &[u8], all: &mut [u8], _: &[usize]) {
        all.copy_from_slice(own);
    }

    #[cfg(not(feature = "mpi"))]
    fn broadcast_into(&self, _: &mut [u8]) {}

    #[cfg(not(feature = "mpi"))]
    fn pass_into(&self, _: &[u8], _: &mut [u8]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_of_one_keeps_what_it_has() {
        let world = &ALONE;
        assert_eq!((world.rank(), world.size(), world.is_first()), (0, 1, true));
        assert_eq!((world.gather(b"own"), world.broadcast(b"own".to_vec())), (vec![b"own".to_vec()], b"own".to_vec()));
        assert_eq!(world.collect(b"own"), b"own");
        assert_eq!((world.gather_numbers(7), world.pass(b"own")), (vec![7], b"own".to_vec()));
        let mut values = [1.5_f32, 2.0];
        world.sum(&mut values);
        assert_eq!((values, world.any(false), world.any(true), world.given()), ([1.5, 2.0], false, true, 0));
    }

    #[test]
    fn shares_are_contiguous_whole_and_as_even_as_can_be() {
        for size in 1..6 {
            let world = World { rank: 0, size, local_rank: 0, host: String::new(), given: AtomicU64::new(0) };
            for count in 0..20 {
                let shares: Vec<_> = (0..size).map(|rank| world.share_of(rank, count)).collect();
                assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
                assert_eq!((shares[0].start, shares[size - 1].end), (0, count));
                let lengths = || shares.iter().map(ExactSizeIterator::len);
                assert!(lengths().max().unwrap() - lengths().min().unwrap() <= 1);
            }
        }
    }

    #[test]
    #[cfg(not(feature = "mpi"))]
    fn several_processes_without_mpi_are_told_how_to_build_it() {
        let launch = |count| Some(Launch { count, variable: "PMI_SIZE" });
        let error = enter(launch(2), false).unwrap_err().to_string();
        assert!(error.contains("one of 2 processes (PMI_SIZE)") && error.contains("--features mpi"), "{error}");
        assert!(enter(launch(1), false).is_ok() && enter(None, true).is_ok());
    }
}
