//! What requests and answers look like as bytes: `docs/ring-format.md`, frames.
//!
//! Everything is little-endian. Decoding trusts nothing: it yields a value that is in range, or says what is wrong.

use statik_disk::{Error, Kind, Open};

use crate::metrics::Op;
use crate::pages::{CommitId, Durability, Usage};

/// The fixed part of a request, in bytes.
pub const REQUEST_BYTES: usize = 32;

/// How deep a chain of causes goes over the wire, and how long its texts are.
const MAX_CAUSES: usize = 6;
const MAX_TEXT_BYTES: usize = 1024;
const NO_PATH: u32 = u32::MAX;

/// The least that each way of a ring must hold, so that two paths, or an error with its causes, fit.
pub(crate) const MIN_CAPACITY: usize = 16 * 1024;
const _: () = assert!(MAX_CAUSES * (12 + 2 * MAX_TEXT_BYTES) <= MIN_CAPACITY);

/// What a release gives up: staged changes, the write lock, the place in its queue.
pub(crate) const DISCARD: u32 = 1;
pub(crate) const UNLOCK: u32 = 2;
pub(crate) const LEAVE: u32 = 4;

/// The fixed part of a request without the frame's length and sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub op: Op,
    /// The file, by the number that the client gave it.
    pub handle: u32,
    /// A position or a length in bytes.
    pub offset: u64,
    /// Bytes wanted, or a mode, as the operation needs it.
    pub count: u32,
}

impl Request {
    pub(crate) fn encode(&self, length: u32, sequence: u32) -> [u8; REQUEST_BYTES] {
        let mut bytes = [0; REQUEST_BYTES];
        bytes[0..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..8].copy_from_slice(&sequence.to_le_bytes());
        bytes[8..12].copy_from_slice(&(self.op as u32).to_le_bytes());
        bytes[12..16].copy_from_slice(&self.handle.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; REQUEST_BYTES]) -> Result<(u32, u32, Request), String> {
        let [length, sequence, op, handle, low, high, count, reserved] =
            std::array::from_fn(|i| u32::from_le_bytes([0, 1, 2, 3].map(|j| bytes[4 * i + j])));
        let op = *Op::ALL.get(op as usize).ok_or_else(|| format!("there is no operation {op}"))?;
        if reserved != 0 {
            return Err(format!("the reserved word holds {reserved}"));
        }
        Ok((length, sequence, Request { op, handle, offset: u64::from(high) << 32 | u64::from(low), count }))
    }
}

pub(crate) fn encode_open(open: Open) -> u32 {
    match open {
        Open::Existing => 0,
        Open::Create => 1,
        Open::CreateNew => 2,
    }
}

pub(crate) fn decode_open(number: u32) -> Option<Open> {
    [Open::Existing, Open::Create, Open::CreateNew].get(number as usize).copied()
}

pub(crate) fn encode_durability(durability: Durability) -> u32 {
    match durability {
        Durability::Off => 0,
        Durability::Normal => 1,
        Durability::Full => 2,
    }
}

pub(crate) fn decode_durability(number: u32) -> Option<Durability> {
    [Durability::Off, Durability::Normal, Durability::Full].get(number as usize).copied()
}

/// The bytes of a commit's id.
pub(crate) fn encode_id(id: CommitId) -> [u8; 16] {
    id.0.to_le_bytes()
}

pub(crate) fn decode_id(payload: &[u8]) -> Option<CommitId> {
    payload.try_into().ok().map(|bytes| CommitId(u128::from_le_bytes(bytes)))
}

/// The id that a commit's payload begins with, if `id_bytes` says so, and the rest.
pub(crate) fn decode_commit(id_bytes: u64, payload: &[u8]) -> Option<(Option<CommitId>, &[u8])> {
    if id_bytes == 0 {
        return Some((None, payload));
    }
    let (id, rest) = payload.split_at_checked(usize::try_from(id_bytes).ok()?)?;
    Some((Some(decode_id(id)?), rest))
}

/// The files of a commit, and whether the client has their write locks.
pub(crate) fn encode_parts(parts: &[(u32, bool)]) -> Vec<u8> {
    parts.iter().flat_map(|(handle, locked)| [*handle, u32::from(*locked)]).flat_map(u32::to_le_bytes).collect()
}

pub(crate) fn decode_parts(payload: &[u8]) -> Option<Vec<(u32, bool)>> {
    let (parts, rest) = payload.as_chunks::<8>();
    let part = |part: &[u8; 8]| {
        let mut words = &part[..];
        let handle = take_u32(&mut words)?;
        Some((handle, take_u32(&mut words).filter(|locked| *locked < 2)? == 1))
    };
    if rest.is_empty() { parts.iter().map(part).collect() } else { None }
}

pub(crate) fn encode_numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().copied().flat_map(u64::to_le_bytes).collect()
}

pub(crate) fn decode_numbers(payload: &[u8]) -> Option<Vec<u64>> {
    let (numbers, rest) = payload.as_chunks();
    rest.is_empty().then(|| numbers.iter().copied().map(u64::from_le_bytes).collect())
}

pub(crate) fn encode_usage(usage: &Usage) -> Vec<u8> {
    let Usage { log_bytes, newest, durable, checkpointed, commits, flushes, oldest_view } = *usage;
    let (held, oldest) = oldest_view.map_or((0, 0), |seq| (1, seq));
    encode_numbers(&[log_bytes, newest, durable, checkpointed, commits, flushes, held, oldest])
}

pub(crate) fn decode_usage(payload: &[u8]) -> Option<Usage> {
    let numbers = decode_numbers(payload)?;
    let [log_bytes, newest, durable, checkpointed, commits, flushes, held, oldest] = numbers.try_into().ok()?;
    let oldest_view = (held != 0).then_some(oldest);
    Some(Usage { log_bytes, newest, durable, checkpointed, commits, flushes, oldest_view })
}

/// The status of an answer that is an error, and its payload.
pub(crate) fn encode_error(error: &Error) -> (i32, Vec<u8>) {
    let mut payload = Vec::new();
    let mut cause = Some(error);
    for _ in 0..MAX_CAUSES {
        let Some(error) = cause else { break };
        let context = clip(error.context());
        let path = error.path().map(clip);
        payload.extend((error.kind() as u32).to_le_bytes());
        payload.extend((context.len() as u32).to_le_bytes());
        payload.extend(path.map_or(NO_PATH, |path| path.len() as u32).to_le_bytes());
        payload.extend(context.as_bytes());
        payload.extend(path.unwrap_or_default().as_bytes());
        cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    }
    (1 + error.kind() as i32, payload)
}

/// The error that [`encode_error`] wrote, or nothing for bytes that it could not have written.
pub(crate) fn decode_error(mut payload: &[u8]) -> Option<Error> {
    let mut chain = Vec::new();
    while !payload.is_empty() {
        if chain.len() == MAX_CAUSES {
            return None;
        }
        let kind = *Kind::ALL.get(take_u32(&mut payload)? as usize)?;
        let context_bytes = take_u32(&mut payload)?;
        let path_bytes = take_u32(&mut payload)?;
        let mut error = Error::new(kind, take_text(&mut payload, context_bytes)?);
        if path_bytes != NO_PATH {
            error = error.at(take_text(&mut payload, path_bytes)?);
        }
        chain.push(error);
    }
    chain.into_iter().rev().reduce(|cause, error| error.because(cause))
}

/// As many of `names` as fit in `limit` bytes, and how many these are.
pub(crate) fn encode_names(names: &[String], limit: usize) -> (usize, Vec<u8>) {
    let mut payload = Vec::new();
    for (done, name) in names.iter().enumerate() {
        if payload.len() + 4 + name.len() > limit {
            return (done, payload);
        }
        payload.extend((name.len() as u32).to_le_bytes());
        payload.extend(name.as_bytes());
    }
    (names.len(), payload)
}

pub(crate) fn decode_names(mut payload: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while !payload.is_empty() {
        let length = take_u32(&mut payload)?;
        names.push(take_text(&mut payload, length)?.to_owned());
    }
    Some(names)
}

fn take_u32(payload: &mut &[u8]) -> Option<u32> {
    let (number, rest) = payload.split_first_chunk()?;
    *payload = rest;
    Some(u32::from_le_bytes(*number))
}

fn take_text<'a>(payload: &mut &'a [u8], length: u32) -> Option<&'a str> {
    let (text, rest) = payload.split_at_checked(length as usize)?;
    *payload = rest;
    std::str::from_utf8(text).ok()
}

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_crosses_with_its_causes() {
        let error = Error::new(Kind::Io, "flushing")
            .at("a/b.db")
            .because(Error::new(Kind::Quota, "").because(Error::new(Kind::Closed, "ü ☃").at("")));
        let (status, payload) = encode_error(&error);
        assert_eq!(status, 1 + Kind::Io as i32);
        assert_eq!(decode_error(&payload), Some(error));
    }

    #[test]
    fn a_long_error_is_cut_between_characters_and_a_deep_one_ends() {
        let mut error = Error::new(Kind::Io, "ü☃".repeat(5000));
        for _ in 0..20 {
            error = Error::new(Kind::Busy, "above").because(error);
        }
        let (_, payload) = encode_error(&Error::new(Kind::Io, "ü☃".repeat(5000)));
        assert_eq!(decode_error(&payload).unwrap().context().len(), 1022);
        let (_, payload) = encode_error(&error);
        assert_eq!(decode_error(&payload).unwrap().kind(), Kind::Busy);
    }

    #[test]
    fn every_cut_of_an_error_or_a_list_is_refused_or_shorter() {
        let (_, error) = encode_error(&Error::new(Kind::Io, "context").at("path"));
        for end in 0..error.len() {
            assert_eq!(decode_error(&error[..end]), None, "cut at {end}");
        }
        let names = ["one".to_owned(), "two".to_owned()];
        let (count, list) = encode_names(&names, 1000);
        assert_eq!((count, decode_names(&list)), (2, Some(names.to_vec())));
        for end in [1, 4, 6, 8, 12] {
            assert_eq!(decode_names(&list[..end]), None, "cut at {end}");
        }
        assert_eq!(encode_names(&names, 13), (1, list[..7].to_vec()));
    }

    #[test]
    fn parts_and_usage_cross_and_nothing_else_does() {
        let parts = [(7, true), (u32::MAX, false)];
        let bytes = encode_parts(&parts);
        assert_eq!(decode_parts(&bytes), Some(parts.to_vec()));
        assert_eq!((decode_parts(&bytes[1..]), decode_parts(&[2; 8])), (None, None));
        for oldest_view in [None, Some(0), Some(u64::MAX)] {
            let usage =
                Usage { log_bytes: 1, newest: 2, durable: 3, checkpointed: 4, commits: 5, flushes: 6, oldest_view };
            assert_eq!(decode_usage(&encode_usage(&usage)), Some(usage));
        }
        assert_eq!((decode_usage(&[0; 63]), decode_usage(&[0; 72])), (None, None));
    }

    #[test]
    fn a_commit_has_an_id_or_none() {
        let id = CommitId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        let payload = [&encode_id(id)[..], b"rest"].concat();
        assert_eq!(decode_commit(0, &payload), Some((None, &payload[..])));
        assert_eq!(decode_commit(16, &payload), Some((Some(id), &b"rest"[..])));
        for id_bytes in [1, 15, 17, 20, 21, u64::MAX] {
            assert_eq!(decode_commit(id_bytes, &payload), None, "{id_bytes}");
        }
        assert_eq!(decode_id(&payload), None);
    }

    #[test]
    fn a_request_crosses_and_its_bad_words_are_refused() {
        let request = Request { op: Op::Rename, handle: 7, offset: u64::MAX - 5, count: 9 };
        let bytes = request.encode(40, 3);
        assert_eq!(Request::decode(&bytes), Ok((40, 3, request)));
        for (place, why) in [(9, "operation"), (30, "reserved")] {
            let mut bad = bytes;
            bad[place] = 1;
            assert!(Request::decode(&bad).unwrap_err().contains(why));
        }
    }
}
