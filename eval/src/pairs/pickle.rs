//! Looks through a pickle's opcodes before anything is built of them: what nests deeply, claims more bytes than there are,
//! or calls Python functions, is refused. Opcodes: Python's `pickletools`.

use pdloss_embed::guard::READER;
use serde_pickle::{DeOptions, Value};

/// Values are dropped by recursion; so deep as may still be asked for.
const STACK: usize = 64 << 20;

/// What a pickle is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Lists, tuples and dictionaries that it may hold, and so nest, at most.
    pub(super) containers: usize,
    /// What it is made of, in words.
    pub(super) parts: &'static str,
    /// How a pickle of other objects is made into one.
    pub(super) cure: &'static str,
}

/// The value, or a sentence on why it is none.
pub(super) fn read(bytes: &[u8], wanted: Wanted) -> Result<Value, String> {
    check(bytes, wanted)?;
    let read = || serde_pickle::value_from_slice(bytes, DeOptions::new()).map_err(|e| e.to_string());
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(READER.into()).stack_size(STACK);
        let thread = thread.spawn_scoped(scope, read).map_err(|e| e.to_string())?;
        thread.join().unwrap_or_else(|_| Err("its reader does not know such pickles".into()))
    })
}

/// How an opcode's argument ends.
enum Argument {
    Bytes(usize),
    /// So many lines.
    Lines(usize),
    /// A length of so many bytes, then that.
    Counted(usize),
}

fn argument(opcode: u8) -> Argument {
    match opcode {
        b'F' | b'I' | b'L' | b'S' | b'V' | b'p' | b'g' | b'P' => Argument::Lines(1),
        b'c' | b'i' => Argument::Lines(2),
        b'K' | b'q' | b'h' | 0x80 | 0x82 => Argument::Bytes(1),
        b'M' | 0x83 => Argument::Bytes(2),
        b'J' | b'r' | b'j' | 0x84 => Argument::Bytes(4),
        b'G' | 0x95 => Argument::Bytes(8),
        b'U' | b'C' | 0x8a | 0x8c => Argument::Counted(1),
        b'T' | b'X' | b'B' | 0x8b => Argument::Counted(4),
        0x8d | 0x8e | 0x96 => Argument::Counted(8),
        _ => Argument::Bytes(0),
    }
}

fn check(bytes: &[u8], wanted: Wanted) -> Result<(), String> {
    let mut at = 0;
    let (mut containers, mut calls) = (0_usize, 0_usize);
    let mut words: [&[u8]; 2] = [b"", b""];
    while let Some(&opcode) = bytes.get(at) {
        at += 1;
        let begin = at;
        let rest = &bytes[at..];
        let short = || format!("it is cut off: the opcode at byte {} wants more bytes than follow", begin - 1);
        let length = match argument(opcode) {
            Argument::Bytes(count) => count,
            Argument::Lines(count) => {
                let ends = rest.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(end, _)| end + 1);
                ends.take(count).last().ok_or_else(short)?
            }
            Argument::Counted(width) => {
                let counted = rest.get(..width).ok_or_else(short)?;
                let count = counted.iter().rev().fold(0_u64, |n, &byte| n << 8 | u64::from(byte));
                usize::try_from(count).ok().and_then(|count| count.checked_add(width)).ok_or_else(short)?
            }
        };
        let argument = rest.get(..length).ok_or_else(short)?;
        at += length;
        match opcode {
            b'.' => return Ok(()),
            // Lists, tuples, dictionaries, sets, objects, and a second one of the topmost.
            b']' | b'l' | b')' | b't' | 0x85..=0x87 | b'}' | b'd' | 0x8f | 0x91 | 0x81 | 0x92 | b'o' | b'i' | b'2' => {
                containers += 1;
            }
            // Python 3 writes bytes as a call in old protocols.
            b'R' => calls += 1,
            b'c' => known(&String::from_utf8_lossy(argument).replace('\n', " "), wanted)?,
            0x8c | b'X' => words = [words[1], &argument[if opcode == b'X' { 4 } else { 1 }..]],
            0x93 => known(&words.map(|word| String::from_utf8_lossy(word).into_owned()).join(" "), wanted)?,
            _ => {}
        }
        if containers.saturating_sub(calls) > wanted.containers {
            let Wanted { containers, parts, .. } = wanted;
            return Err(format!("it nests or holds more than {containers} lists and tuples; wanted {parts}"));
        }
    }
    Err("it is cut off: it has no end".into())
}

/// Refuses functions and classes, but for the one that old protocols write bytes by.
fn known(name: &str, wanted: Wanted) -> Result<(), String> {
    let name = name.trim();
    if name == "_codecs encode" {
        return Ok(());
    }
    Err(format!("it holds Python objects ({}); wanted {}", name.replace(' ', "."), wanted.cure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Value, String> {
        let cure = "plain bytes and bools";
        super::read(bytes, Wanted { containers: 64, parts: "two lists", cure })
    }

    #[test]
    fn plain_lists_are_read_and_others_named() {
        // pickletools.dis: PROTO 4, ([b'x'], [True])
        let good = b"\x80\x04]C\x01xa]\x88a\x86.";
        let Ok(Value::Tuple(parts)) = read(good) else { panic!("{:?}", read(good)) };
        assert_eq!(parts.len(), 2);
        let nested = [vec![b')'], vec![0x85; 10_000], vec![b'.']].concat();
        assert!(read(&nested).unwrap_err().contains("more than 64 lists and tuples"));
        let nested = [vec![b']'; 10_000], vec![b'a'; 9_999], vec![b'.']].concat();
        assert!(read(&nested).unwrap_err().contains("more than 64"));
        assert!(read(b"B\xff\xff\xff\x7fabc.").unwrap_err().contains("cut off"));
        assert!(read(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc.").unwrap_err().contains("cut off"));
        assert!(read(b"]").unwrap_err().contains("no end"));
        let numpy = read(b"\x8c\x05numpy\x8c\x07ndarray\x93.").unwrap_err();
        assert!(numpy.contains("numpy.ndarray") && numpy.contains("wanted plain bytes"), "{numpy}");
        assert!(read(b"cnumpy\nbool_\n.").unwrap_err().contains("numpy.bool_"));
    }
}
