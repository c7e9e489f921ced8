//! The colour profile (ICC) of a file, as far as it says that the file's numbers are not those of sRGB, which models are trained on.
//! Profiles are not followed: Pillow, torchvision and OpenCV do not either.

/// Whether a profile is of other colours than sRGB. Of grey profiles nothing is said, and of what is no profile neither.
///
/// Of RGB it goes by the primaries (tags `rXYZ`, `gXYZ`, `bXYZ`; ICC.1:2022, 9.2.45), for descriptions are free text; one without
/// primaries is made of tables, and for other colours than sRGB.
pub(super) fn is_other_than_srgb(profile: &[u8]) -> bool {
    /// X, Y and Z of the primaries, adapted to D50.
    const SRGB: [(&[u8; 4], [f64; 3]); 3] =
        [(b"rXYZ", [0.4361, 0.2225, 0.0139]), (b"gXYZ", [0.3851, 0.7169, 0.0971]), (b"bXYZ", [0.1431, 0.0606, 0.7141])];
    /// Makers of profiles round and adapt a little differently; the next space, Display P3, is apart by 0.08.
    const NEAR: f64 = 0.01;
    if profile.get(36..40) != Some(b"acsp") {
        return false;
    }
    let is_near = |(signature, wanted): (&[u8; 4], [f64; 3])| {
        let found = xyz(profile, signature);
        found.is_some_and(|found| found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < NEAR))
    };
    match profile.get(16..20) {
        Some(b"RGB ") => !SRGB.into_iter().all(is_near),
        Some(b"GRAY") | None => false,
        Some(_) => true,
    }
}

/// The numbers of a tag of type XYZ.
fn xyz(profile: &[u8], signature: &[u8; 4]) -> Option<[f64; 3]> {
    let number = |at: usize| profile.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes);
    let place = |at: usize| number(at).and_then(|place| usize::try_from(place).ok());
    let count = place(128)?;
    let mut entries = (0..count).map_while(|entry| {
        let at = entry.checked_mul(12)?.checked_add(132)?;
        Some((profile.get(at..at.checked_add(4)?)?, at))
    });
    let (_, entry) = entries.find(|(name, _)| name == signature)?;
    let at = place(entry + 4)?;
    let fixed = |at: usize| number(at).map(|bits| f64::from(bits.cast_signed()) / 65536.0);
    let first = at.checked_add(8)?;
    (profile.get(at..first)?.starts_with(b"XYZ ")).then_some(())?;
    Some([fixed(first)?, fixed(first.checked_add(4)?)?, fixed(first.checked_add(8)?)?])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A profile of these primaries.
    pub(crate) fn profile(space: &[u8; 4], primaries: &[[f64; 3]]) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes[16..20].copy_from_slice(space);
        bytes[36..40].copy_from_slice(b"acsp");
        let count = u32::try_from(primaries.len()).unwrap();
        bytes.extend(count.to_be_bytes());
        for (at, name) in (0..count).zip([b"rXYZ", b"gXYZ", b"bXYZ"]) {
            bytes.extend(name);
            bytes.extend((132 + 12 * count + 20 * at).to_be_bytes());
            bytes.extend(20_u32.to_be_bytes());
        }
        for primary in primaries {
            bytes.extend(b"XYZ \0\0\0\0");
            #[allow(clippy::cast_possible_truncation)]
            primary.iter().for_each(|value| bytes.extend(((value * 65536.0) as i32).to_be_bytes()));
        }
        bytes
    }

    pub(crate) const P3: [[f64; 3]; 3] =
        [[0.5151, 0.2412, -0.0011], [0.2920, 0.6922, 0.0419], [0.1571, 0.0666, 0.7841]];
    const SRGB: [[f64; 3]; 3] = [[0.4360, 0.2225, 0.0139], [0.3851, 0.7169, 0.0971], [0.1431, 0.0606, 0.7139]];

    #[test]
    fn primaries_tell_srgb_from_others() {
        assert!(!is_other_than_srgb(&profile(b"RGB ", &SRGB)));
        let adobe = [[0.6097, 0.3111, 0.0195], [0.2053, 0.6257, 0.0609], [0.1492, 0.0632, 0.7446]];
        for other in [&P3[..], &adobe, &[]] {
            assert!(is_other_than_srgb(&profile(b"RGB ", other)), "{other:?}");
        }
        assert!(is_other_than_srgb(&profile(b"CMYK", &[])));
        assert!(!is_other_than_srgb(&profile(b"GRAY", &[])));
    }

    #[test]
    fn no_damaged_profile_reads_beyond_its_end() {
        let whole = profile(b"RGB ", &SRGB);
        for length in 0..whole.len() {
            is_other_than_srgb(&whole[..length]);
        }
        let mut wild = whole.clone();
        wild[128..].fill(0xff);
        assert!(is_other_than_srgb(&wild));
    }
}
