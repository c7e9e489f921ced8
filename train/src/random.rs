//! Random numbers as a function of what they are for, so that they depend neither on threads nor on what came before.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// What a stream of random numbers is for; streams of different purposes have nothing in common.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The order of an epoch.
    Order,
    /// The changes of one image.
    Augment,
    /// Images to compare two models by.
    Proof,
}

/// The stream of this seed, purpose and place.
pub(crate) fn stream(seed: u64, purpose: Purpose, place: [u64; 3]) -> Pcg64 {
    let mut hasher = Sha256::new();
    for word in [seed, purpose as u64].into_iter().chain(place) {
        hasher.update(word.to_le_bytes());
    }
    Pcg64::from_seed(hasher.finalize().into())
}
