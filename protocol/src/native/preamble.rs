//! The first bytes of a native connection ([NAT-1]). Knows nothing of frames.

use crate::error::ProtocolError;

/// The version spoken here.
pub const VERSION: u8 = 1;

/// Bytes of the preamble.
pub const PREAMBLE_BYTES: usize = 8;

/// No RESP request begins with this byte, so one port serves both protocols.
pub const PREAMBLE_FIRST_BYTE: u8 = 0xF4;

const MAGIC: [u8; 4] = [PREAMBLE_FIRST_BYTE, b'T', b'K', b'V'];

/// What a client sends first.
pub const fn preamble() -> [u8; PREAMBLE_BYTES] {
    [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], VERSION, 0, 0, 0]
}

/// Reads the preamble at the start of a connection: false while more bytes are needed. The caller
/// drops [`PREAMBLE_BYTES`] once it is true. Errors come with the first wrong byte.
pub fn parse_preamble(received: &[u8]) -> Result<bool, ProtocolError> {
    let magic = received.len().min(MAGIC.len());
    if received[..magic] != MAGIC[..magic] {
        return Err(ProtocolError::InvalidPreamble);
    }
    match received.get(MAGIC.len()) {
        Some(version) if *version != VERSION => {
            return Err(ProtocolError::UnsupportedVersion { found: *version, spoken: VERSION });
        }
        _ => {}
    }
    let reserved = received.get(MAGIC.len() + 1..).unwrap_or_default();
    if reserved.iter().take(3).any(|byte| *byte != 0) {
        return Err(ProtocolError::ReservedNotZero { place: "preamble" });
    }
    Ok(received.len() >= PREAMBLE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preamble_may_come_byte_by_byte() {
        let bytes = preamble();
        for length in 0..PREAMBLE_BYTES {
            assert_eq!(parse_preamble(&bytes[..length]), Ok(false));
        }
        assert_eq!(parse_preamble(&bytes), Ok(true));
        assert_eq!(parse_preamble(&[&bytes[..], b"more"].concat()), Ok(true));
    }

    #[test]
    fn every_wrong_byte_is_an_error() {
        for index in 0..PREAMBLE_BYTES {
            let mut bytes = preamble();
            bytes[index] ^= 0x40;
            assert!(parse_preamble(&bytes).is_err(), "byte {index}");
            assert!(parse_preamble(&bytes[..=index]).is_err(), "byte {index}");
        }
    }
}
