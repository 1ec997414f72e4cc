//! A snapshot's file: a header, then the state, each with a checksum of its own. See `docs/journal-format.md`.
//!
//! Invariant: nothing is allocated by a length that the file does not have.

use statik_disk::{Disk, Error, File, Kind, Open, Result};

use super::{Damage, MAX_NUMBER, MAX_SNAPSHOT_BYTES, unsupported};

const MAGIC: [u8; 8] = *b"SJRNSNAP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
/// Where the header's own checksum stands.
const SUM_AT: usize = HEADER_BYTES - 4;

/// How much is read at a time where only the checksum is wanted.
const CHUNK_BYTES: usize = 1 << 20;

/// One of the two places for a snapshot.
pub struct Slot {
    file: Box<dyn File>,
    path: String,
    pub found: Found,
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: the file is empty, or has zeros where the header should be, as a crash may leave it.
    Nothing,
    Kept(Kept),
    Damaged(Damage),
}

/// What the header of a sound snapshot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The snapshot's number.
    pub generation: u64,
    /// The frame up to which the state goes.
    pub sequence: u64,
    /// The state's length in bytes.
    pub len: u64,
    /// The state's checksum.
    pub crc: u32,
}

impl Slot {
    /// Opens a slot and checks all that it holds.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if a later version wrote it.
    pub fn open(disk: &dyn Disk, path: String) -> Result<Slot> {
        let file = disk.open(&path, Open::Create)?;
        let found = check(&*file, &path)?;
        Ok(Slot { file, path, found })
    }

    /// What its header says, if it holds a sound snapshot.
    pub fn kept(&self) -> Option<Kept> {
        match self.found {
            Found::Kept(kept) => Some(kept),
            Found::Nothing | Found::Damaged(_) => None,
        }
    }

    /// Reads the state.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the file is not what it was when it was checked.
    pub fn read(&self, kept: Kept) -> Result<Vec<u8>> {
        let corrupt = || Error::new(Kind::Corrupt, "reading a snapshot that was sound a while ago").at(&self.path);
        if self.file.len()? < HEADER_BYTES as u64 + kept.len {
            return Err(corrupt());
        }
        let mut state = vec![0; kept.len as usize];
        let read = self.file.read_at(HEADER_BYTES as u64, &mut state)?;
        if read < state.len() || crc32fast::hash(&state) != kept.crc {
            return Err(corrupt());
        }
        Ok(state)
    }

    /// Replaces what it holds, durably.
    pub fn write(&mut self, generation: u64, sequence: u64, state: &[u8]) -> Result<()> {
        self.found = Found::Nothing;
        let kept = Kept { generation, sequence, len: state.len() as u64, crc: crc32fast::hash(state) };
        let end = HEADER_BYTES as u64 + kept.len;
        if self.file.len()? > end {
            self.file.set_len(end)?;
        }
        self.file.write_at(HEADER_BYTES as u64, state)?;
        self.file.write_at(0, &encode(&kept))?;
        self.file.flush()?;
        self.found = Found::Kept(kept);
        Ok(())
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn file(&self) -> &dyn File {
        &*self.file
    }
}

fn encode(kept: &Kept) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&kept.crc.to_le_bytes());
    header[16..24].copy_from_slice(&kept.generation.to_le_bytes());
    header[24..32].copy_from_slice(&kept.sequence.to_le_bytes());
    header[32..40].copy_from_slice(&kept.len.to_le_bytes());
    let sum = crc32fast::hash(&header[..SUM_AT]);
    header[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
    header
}

fn check(file: &dyn File, path: &str) -> Result<Found> {
    let mut header = [0; HEADER_BYTES];
    let read = file.read_at(0, &mut header)?;
    if header[..read].iter().all(|&byte| byte == 0) {
        return Ok(Found::Nothing);
    }
    let damaged = |offset: usize, why: &str| {
        let (path, why) = (path.to_owned(), format!("the snapshot {why}"));
        Ok(Found::Damaged(Damage { path, offset: offset as u64, sequence: 0, why, aside: None }))
    };
    let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if header[..8] != MAGIC || u32_at(SUM_AT) != crc32fast::hash(&header[..SUM_AT]) {
        return damaged(0, "has a bad header");
    }
    if u32_at(8) != VERSION {
        return Err(unsupported(u32_at(8), VERSION).at(path));
    }
    let kept = Kept { generation: u64_at(16), sequence: u64_at(24), len: u64_at(32), crc: u32_at(12) };
    if kept.generation >= MAX_NUMBER || kept.sequence >= MAX_NUMBER {
        return damaged(0, "has a number that none has");
    }
    let bytes = file.len()?.saturating_sub(HEADER_BYTES as u64);
    if kept.len > bytes.min(MAX_SNAPSHOT_BYTES as u64) {
        return damaged(HEADER_BYTES, &format!("should have {} bytes, the file has {bytes}", kept.len));
    }
    if checksum(file, kept.len)? != kept.crc {
        return damaged(HEADER_BYTES, "has a wrong checksum");
    }
    Ok(Found::Kept(kept))
}

/// The checksum of a state that the file has all of.
fn checksum(file: &dyn File, len: u64) -> Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES.min(len as usize)];
    let mut done = 0;
    while done < len {
        let wanted = chunk.len().min((len - done) as usize);
        let read = file.read_at(HEADER_BYTES as u64 + done, &mut chunk[..wanted])?;
        if read == 0 {
            return Err(Error::new(
                Kind::Io,
                format!("reading a snapshot of {len} bytes: the file ended after {done}"),
            ));
        }
        hasher.update(&chunk[..read]);
        done += read as u64;
    }
    Ok(hasher.finalize())
}
