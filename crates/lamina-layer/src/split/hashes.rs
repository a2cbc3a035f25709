//! The hash of a tar and that of a content in it, in one pass.
//!
//! Contents begin at a multiple of 512 bytes, so both hashes see the same blocks; where the
//! processor has instructions for SHA-256 the second one costs nothing (see
//! [`lamina_sys::sha256`]).

use sha2::block_api::compress256;

const BLOCK: usize = 64;
/// FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// A running SHA-256.
#[derive(Debug, Clone)]
pub(super) struct Hash {
    state: [u32; 8],
    /// Bytes so far.
    length: u64,
    /// The bytes of a block that is not full: as many as `length` has beyond whole blocks.
    begun: [u8; BLOCK],
}

impl Hash {
    pub(super) fn new() -> Self {
        Self {
            state: INITIAL,
            length: 0,
            begun: [0; BLOCK],
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let bytes = self.fill(bytes);
        let (blocks, rest) = bytes.as_chunks();
        compress256(&mut self.state, blocks);
        self.length += (bytes.len() - rest.len()) as u64;
        self.fill(rest);
    }

    /// Adds the same bytes to both.
    pub(super) fn update_both(one: &mut Self, other: &mut Self, bytes: &[u8]) {
        if one.at() != other.at() {
            one.update(bytes);
            other.update(bytes);
            return;
        }
        one.fill(bytes);
        let bytes = other.fill(bytes);
        let (blocks, rest) = bytes.as_chunks();
        if !lamina_sys::sha256::compress_both(&mut one.state, &mut other.state, blocks) {
            compress256(&mut one.state, blocks);
            compress256(&mut other.state, blocks);
        }
        for hash in [one, other] {
            hash.length += (bytes.len() - rest.len()) as u64;
            hash.fill(rest);
        }
    }

    /// Where in a block the next byte goes.
    fn at(&self) -> usize {
        // Less than a block.
        usize::try_from(self.length % BLOCK as u64).unwrap_or(0)
    }

    /// Adds the bytes that the begun block takes, or that begin one; returns the others.
    ///
    /// Of what comes at the beginning of a block nothing is taken unless it is less than a block.
    fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let at = self.at();
        if at == 0 && bytes.len() >= BLOCK {
            return bytes;
        }
        let (begun, rest) = bytes.split_at(bytes.len().min(BLOCK - at));
        self.begun[at..at + begun.len()].copy_from_slice(begun);
        self.length += begun.len() as u64;
        if at + begun.len() == BLOCK {
            compress256(&mut self.state, &[self.begun]);
        }
        rest
    }

    /// Returns the hash of everything that was added.
    pub(super) fn finish(mut self) -> [u8; 32] {
        let bits = self.length.wrapping_mul(8);
        let padding = [&[0x80_u8][..], &[0; BLOCK]].concat();
        // So much that the length ends a block.
        let until = (2 * BLOCK - 8 - self.at() - 1) % BLOCK;
        self.update(&padding[..=until]);
        self.update(&bits.to_be_bytes());
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::Hash;

    fn expected(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    fn sample(length: usize) -> Vec<u8> {
        let numbers = (0..length as u64).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes());
        numbers.take(length).collect()
    }

    #[test]
    fn every_length_hashes_as_it_should() {
        for length in 0..300 {
            let bytes = sample(length);
            let mut hash = Hash::new();
            hash.update(&bytes);
            assert_eq!(hash.finish(), expected(&bytes), "{length}");
        }
    }

    proptest::proptest! {
        #[test]
        fn pieces_of_any_length_are_hashed_as_one(
            before in 0_usize..700,
            pieces in proptest::collection::vec(0_usize..400, 0..12),
            after in 0_usize..200,
        ) {
            let bytes = sample(before + pieces.iter().sum::<usize>() + after);
            let (mut tar, mut content) = (Hash::new(), Hash::new());
            tar.update(&bytes[..before]);
            let mut at = before;
            for piece in pieces {
                Hash::update_both(&mut tar, &mut content, &bytes[at..at + piece]);
                at += piece;
            }
            proptest::prop_assert_eq!(content.finish(), expected(&bytes[before..at]));
            tar.update(&bytes[at..]);
            proptest::prop_assert_eq!(tar.finish(), expected(&bytes));
        }
    }
}
