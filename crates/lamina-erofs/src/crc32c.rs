//! CRC-32C (Castagnoli), bit by bit: it covers three kilobytes per image.

/// The polynomial with its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Continues a checksum; the kernel starts with all ones and does not invert the end.
pub(crate) fn crc32c(mut crc: u32, bytes: &[u8]) -> u32 {
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc >>= 1;
            if carry == 1 {
                crc ^= POLYNOMIAL;
            }
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_right() {
        // RFC 3720, appendix B.4, gives it inverted.
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }
}
