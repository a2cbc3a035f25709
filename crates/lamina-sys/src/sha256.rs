//! SHA-256 of the same blocks by two hashes at once, with the processor's own instructions.
//!
//! The rounds of one hash wait for each other, so that half of what the processor could do in that
//! time is idle; and what a block adds to a hash, its message schedule, is the same whatever came
//! before it. So a second hash of the same blocks takes no time of its own: as long as both are at
//! the same place of a block, which the contents of a tar always are.
//!
//! No system call, and here because the instructions need a check that the compiler cannot see.
//! Without them [`compress_both`] does nothing, and whoever asked has another way.

/// Adds the blocks to two states of SHA-256 (FIPS 180-4); false, with nothing done, where the
/// processor has no instructions for it.
#[must_use]
pub fn compress_both(one: &mut [u32; 8], other: &mut [u32; 8], blocks: &[[u8; 64]]) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        // The answers are kept by the standard library: a load and a test each.
        if is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("sse4.1")
            && is_x86_feature_detected!("ssse3")
        {
            // SAFETY: the processor has every feature that the function is compiled for.
            unsafe { x86_64::compress_both(one, other, blocks) };
            return true;
        }
    }
    let _ = (one, other, blocks);
    false
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    //! The order of operations is that of Intel's paper on its SHA extensions (2013), each step
    //! done for both states.

    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32,
    };

    /// FIPS 180-4, 4.2.2: four rounds in a row.
    const K: [[u32; 4]; 16] = [
        [0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5],
        [0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5],
        [0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3],
        [0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174],
        [0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc],
        [0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da],
        [0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7],
        [0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967],
        [0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13],
        [0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85],
        [0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3],
        [0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070],
        [0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5],
        [0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3],
        [0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208],
        [0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2],
    ];

    /// A state as the instructions want it.
    #[derive(Clone, Copy)]
    struct State {
        abef: __m128i,
        cdgh: __m128i,
    }

    #[target_feature(enable = "sha,sse4.1,ssse3")]
    pub(super) fn compress_both(one: &mut [u32; 8], other: &mut [u32; 8], blocks: &[[u8; 64]]) {
        let mut states = [pack(one), pack(other)];
        for block in blocks {
            let before = states;
            let mut words = [0, 16, 32, 48].map(|at| load(block, at));
            for (group, constants) in K.iter().enumerate() {
                if group >= 4 {
                    let [first, second, third, fourth] = words;
                    words = [
                        second,
                        third,
                        fourth,
                        schedule(first, second, third, fourth),
                    ];
                }
                let word = words[group.min(3)];
                rounds(&mut states, add(word, constants));
            }
            for (state, before) in states.iter_mut().zip(before) {
                state.abef = _mm_add_epi32(state.abef, before.abef);
                state.cdgh = _mm_add_epi32(state.cdgh, before.cdgh);
            }
        }
        *one = unpack(states[0]);
        *other = unpack(states[1]);
    }

    /// Four rounds of both, the steps of one between those of the other.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn rounds(states: &mut [State; 2], words: __m128i) {
        let later = _mm_shuffle_epi32::<0x0e>(words);
        for state in &mut *states {
            state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, words);
        }
        for state in states {
            state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, later);
        }
    }

    /// The next four words of the message schedule, out of the last sixteen.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn schedule(first: __m128i, second: __m128i, third: __m128i, fourth: __m128i) -> __m128i {
        let sum = _mm_sha256msg1_epu32(first, second);
        let sum = _mm_add_epi32(sum, _mm_alignr_epi8::<4>(fourth, third));
        _mm_sha256msg2_epu32(sum, fourth)
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn add(words: __m128i, constants: &[u32; 4]) -> __m128i {
        let [a, b, c, d] = constants.map(u32::cast_signed);
        _mm_add_epi32(words, _mm_set_epi32(d, c, b, a))
    }

    /// Sixteen bytes of a block as four big-endian words.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn load(block: &[u8; 64], at: usize) -> __m128i {
        let half = |at: usize| {
            let bytes = block[at..].first_chunk().copied().unwrap_or_default();
            i64::from_le_bytes(bytes)
        };
        let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        _mm_shuffle_epi8(_mm_set_epi64x(half(at + 8), half(at)), order)
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn pack(state: &[u32; 8]) -> State {
        let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
        State {
            abef: _mm_set_epi32(a, b, e, f),
            cdgh: _mm_set_epi32(c, d, g, h),
        }
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn unpack(state: State) -> [u32; 8] {
        let State { abef, cdgh } = state;
        [
            _mm_extract_epi32::<3>(abef),
            _mm_extract_epi32::<2>(abef),
            _mm_extract_epi32::<3>(cdgh),
            _mm_extract_epi32::<2>(cdgh),
            _mm_extract_epi32::<1>(abef),
            _mm_extract_epi32::<0>(abef),
            _mm_extract_epi32::<1>(cdgh),
            _mm_extract_epi32::<0>(cdgh),
        ]
        .map(i32::cast_unsigned)
    }
}

#[cfg(test)]
mod tests {
    use super::compress_both;

    /// FIPS 180-4, 5.3.3.
    const INITIAL: [u32; 8] = [
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
        0x5be0cd19,
    ];

    /// The standard's own examples: "abc", and 56 bytes that take two blocks.
    #[test]
    fn both_states_are_those_of_the_standards_examples() {
        let mut one_block = [0; 64];
        one_block[..4].copy_from_slice(b"abc\x80");
        one_block[63] = 24;
        let text = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq\x80";
        let mut two_blocks = [[0; 64]; 2];
        two_blocks[0][..text.len()].copy_from_slice(text);
        two_blocks[1][62..].copy_from_slice(&448_u16.to_be_bytes());
        let (mut short, mut long) = (INITIAL, INITIAL);
        let mut other = INITIAL;
        if !compress_both(&mut short, &mut other, &[one_block]) {
            eprintln!("SKIP: a processor without SHA instructions");
            return;
        }
        assert_eq!(short, other);
        assert_eq!((short[0], short[7]), (0xba7816bf, 0xf20015ad));
        // The other one goes on from where it is.
        assert!(compress_both(&mut long, &mut other, &two_blocks));
        assert_eq!((long[0], long[7]), (0x248d6a61, 0x19db06c1));
        assert_ne!(long, other);
    }

    #[test]
    fn the_two_do_not_mix() {
        let blocks: Vec<[u8; 64]> = (0..9_u8).map(|n| [n.wrapping_mul(29); 64]).collect();
        let (mut ahead, mut whole, mut late) = (INITIAL, INITIAL, INITIAL);
        let mut spare = INITIAL;
        if !compress_both(&mut ahead, &mut spare, &blocks[..4]) {
            eprintln!("SKIP: a processor without SHA instructions");
            return;
        }
        assert!(compress_both(&mut ahead, &mut late, &blocks[4..]));
        let mut alone = INITIAL;
        assert!(compress_both(&mut whole, &mut spare, &blocks));
        assert!(compress_both(&mut alone, &mut spare, &blocks[4..]));
        assert_eq!(ahead, whole);
        assert_eq!(late, alone);
    }
}
