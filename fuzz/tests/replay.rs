//! Every file of every corpus through its target: it must come back, with a value or an error, in ten seconds, and leave no
//! file behind. Files that once killed a reader are kept here for good.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::time::Instant;

#[test]
fn corpora_come_back() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut replayed = 0;
    for (name, target) in pdloss_fuzz::TARGETS {
        let mut files: Vec<_> =
            std::fs::read_dir(corpora.join(name)).unwrap_or_else(|e| panic!("fuzz/corpus/{name}: {e}")).collect();
        files.sort_by_key(|file| file.as_ref().unwrap().path());
        assert!(!files.is_empty(), "fuzz/corpus/{name} is empty");
        for file in files {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let started = Instant::now();
            target(&bytes);
            // Whatever the corpus does not hold: the file cut short, and with a bit turned.
            target(&bytes[..bytes.len() / 2]);
            let mut turned = bytes;
            if let Some(byte) = turned.get_mut(9) {
                *byte ^= 0x10;
            }
            target(&turned);
            let seconds = started.elapsed().as_secs_f64();
            assert!(seconds < 30.0, "{}: {seconds:.1} s for three readings", path.display());
            replayed += 1;
        }
    }
    assert!(replayed >= pdloss_fuzz::TARGETS.len());
}
