//! The frame around a message, and a check of what is in it, byte by byte, before the algorithm sees it.
//!
//! The bytes are those of `docs/reconcile-format.md`. Negentropy itself reads what was cut off as zeros, that is, as
//! "nothing differs here", and a message that ends early at a range's end as equality of the rest: differences would be
//! lost in silence. So the frame carries a checksum, and the check asks for the one encoding that a message has. It holds
//! nothing but the place where it reads.

use sha2::{Digest, Sha256};
use statik_disk::{Error, Kind, Result};

const MAGIC: [u8; 4] = *b"SREC";
const FORMAT_VERSION: u8 = 1;
/// Version 1 of the Negentropy protocol.
const PROTOCOL: u8 = 0x61;
const CHECKSUM_BYTES: usize = 8;
pub const HEADER_BYTES: usize = MAGIC.len() + 1 + CHECKSUM_BYTES;

const ID_BYTES: usize = 32;
const FINGERPRINT_BYTES: u64 = 16;

/// Puts the frame around a message.
pub fn seal(body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
    message.extend_from_slice(&MAGIC);
    message.push(FORMAT_VERSION);
    message.extend_from_slice(&checksum(body));
    message.extend_from_slice(body);
    message
}

/// The message in a frame, or why it is none.
pub fn open(message: &[u8], limit_bytes: usize) -> Result<&[u8]> {
    if message.len() > limit_bytes {
        return Err(corrupt(format!("expected at most {limit_bytes} bytes, {} came", message.len())));
    }
    let Some((header, body)) = message.split_at_checked(HEADER_BYTES) else {
        return Err(corrupt(format!("expected a header of {HEADER_BYTES} bytes, {} came", message.len())));
    };
    let (magic, rest) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(corrupt(format!("expected it to begin with \"SREC\", found {magic:02x?}")));
    }
    if rest[0] != FORMAT_VERSION {
        let context = format!("reading a message: this code knows version {FORMAT_VERSION}, not {}", rest[0]);
        return Err(Error::new(Kind::Unsupported, context));
    }
    if rest[1..] != checksum(body) {
        return Err(corrupt("the checksum of its bytes is not the one that it carries".to_owned()));
    }
    check(body)?;
    Ok(body)
}

/// The first bytes of the SHA-256.
fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash: [u8; 32] = Sha256::digest(body).into();
    std::array::from_fn(|at| hash[at])
}

fn corrupt(what: String) -> Error {
    Error::new(Kind::Corrupt, format!("reading a message of the other side: {what}"))
}

/// Walks over a message: the protocol's version, then ranges that do not go back, to the very end.
fn check(body: &[u8]) -> Result<()> {
    let mut reader = Reader { rest: body, length: body.len() };
    let protocol = reader.take(1)?[0];
    if protocol != PROTOCOL {
        return Err(corrupt(format!("expected Negentropy's version 0x{PROTOCOL:02x}, found 0x{protocol:02x}")));
    }
    let mut above = (0, [0; ID_BYTES]);
    while !reader.rest.is_empty() {
        let bound = reader.bound(above.0)?;
        if bound < above {
            return Err(reader.wrong("a range that ends before it begins"));
        }
        above = bound;
        match reader.number()? {
            0 => {}
            1 => drop(reader.take(FINGERPRINT_BYTES)?),
            2 => {
                let count = reader.number()?;
                reader.take(count.saturating_mul(ID_BYTES as u64))?;
            }
            mode => return Err(reader.wrong(&format!("the mode {mode} of a range, which is none"))),
        }
    }
    Ok(())
}

struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, what: &str) -> Error {
        corrupt(format!("{what}, before byte {} of {}", self.length - self.rest.len(), self.length))
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let split = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let (taken, rest) = split.ok_or_else(|| self.wrong(&format!("{count} bytes that are not there")))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Seven bits a byte, the highest first, without zeros before them; the last byte alone has no top bit.
    fn number(&mut self) -> Result<u64> {
        let mut number = 0_u64;
        for place in 0.. {
            let byte = self.take(1)?[0];
            if (place == 0 && byte == 0x80) || number > u64::MAX >> 7 {
                return Err(self.wrong("a number that is too long"));
            }
            number = number << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(number)
    }

    /// A time, told as one more than its distance from the last one, or 0 for the end of all; and the first bytes of an
    /// id.
    fn bound(&mut self, last_ms: u64) -> Result<(u64, [u8; ID_BYTES])> {
        let time = match self.number()? {
            0 => Some(u64::MAX),
            more => last_ms.checked_add(more - 1),
        };
        let time = time.ok_or_else(|| self.wrong("a time after the end of all"))?;
        let count = self.number()?;
        if count > ID_BYTES as u64 {
            return Err(self.wrong(&format!("an id of {count} bytes")));
        }
        let prefix = self.take(count)?;
        Ok((time, std::array::from_fn(|at| prefix.get(at).copied().unwrap_or(0))))
    }
}
