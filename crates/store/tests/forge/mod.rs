//! Records with right checksums that no writer wrote.

/// A record of a log, filled up to where the next one begins.
pub fn record(epoch: u64, sequence: u64, previous: u64, flushed: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"SLOG\x01\0\0\0".to_vec();
    [epoch, sequence, previous, flushed].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    [payload.len() as u32, crc32fast::hash(payload), 0].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}
