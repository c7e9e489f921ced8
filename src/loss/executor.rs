//! Who runs the blocks of work: the caller's threads.

use std::sync::{Mutex, PoisonError};

/// Runs independent tasks. The crate owns no threads: a host with a pool of its own implements this over it.
///
/// Which thread runs which task, and in what order, never changes a result: blocks are cut by shape alone and
/// partial sums are combined in block order.
pub trait Executor: Sync {
    /// How many tasks may run at once. Informs only whether splitting is worth its cost, never how work is split.
    fn threads(&self) -> usize;
    /// Calls `task(0)`, ..., `task(tasks - 1)`, each once, and returns when all have returned.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// Everything on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Executor for Serial {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// The `rayon` pool that the call is made in: the global one, or that of an enclosing `ThreadPool::install`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads;

impl Executor for Threads {
    fn threads(&self) -> usize {
        rayon::current_num_threads()
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        use rayon::prelude::*;
        if tasks == 1 || self.threads() == 1 {
            return (0..tasks).for_each(task);
        }
        (0..tasks).into_par_iter().with_max_len(1).for_each(task);
    }
}

/// Moves one item into each task, so that tasks own disjoint outputs.
pub(crate) fn for_each<W: Send>(executor: &dyn Executor, items: Vec<W>, task: impl Fn(W) + Sync) {
    if items.len() == 1 || executor.threads() == 1 {
        return items.into_iter().for_each(task);
    }
    let slots: Vec<Mutex<Option<W>>> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    executor.run(slots.len(), &|index| {
        let item = slots[index].lock().unwrap_or_else(PoisonError::into_inner).take();
        task(item.expect("an executor calls each task once"));
    });
}

/// Runs `task` for each item and returns the results in the order of the items.
pub(crate) fn map<W: Send, R: Send>(executor: &dyn Executor, items: Vec<W>, task: impl Fn(W) -> R + Sync) -> Vec<R> {
    if items.len() == 1 || executor.threads() == 1 {
        return items.into_iter().map(task).collect();
    }
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    for_each(executor, items.into_iter().zip(&results).collect(), |(item, slot)| {
        let result = task(item);
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    });
    let result = |slot: Mutex<Option<R>>| slot.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().map(|slot| result(slot).expect("an executor calls each task before it returns")).collect()
}
