//! The sanity check: does this host keep what it is given?

use statik_bridge::AsyncDisk;
use statik_disk::{Error, File, Kind, Open, Result};

/// Where the check writes. A file left by a check that was killed is taken over.
const SCRATCH: &str = "statik-sanity-check";

const PAGE: usize = 4096;

/// Opens, writes, reads back, cuts and removes a scratch file.
///
/// # Errors
/// The first step that failed, with what the host said; [`Kind::Io`] if it said nothing but did something else.
pub async fn check(host: &impl AsyncDisk) -> Result<()> {
    let file = host.open(SCRATCH, Open::Create).await.map_err(|error| failed("open", error))?;
    let result = check_file(&*file);
    drop(file);
    // Removed even if a step before failed, whose error then counts.
    let removed = host.remove(SCRATCH).await.map_err(|error| failed("remove", error));
    result.and(removed)?;
    match host.list().await.map_err(|error| failed("list", error))?.iter().any(|path| path == SCRATCH) {
        true => Err(unexpected("remove", "the file to be gone", "it is still listed")),
        false => Ok(()),
    }
}

fn check_file(file: &dyn File) -> Result<()> {
    let bytes: Vec<u8> = (0..PAGE).map(|i| (i % 251) as u8).collect();
    file.set_len(0).map_err(|error| failed("empty", error))?;
    file.write_at(PAGE as u64, &bytes).map_err(|error| failed("write", error))?;
    file.flush().map_err(|error| failed("flush", error))?;

    let mut back = vec![7; 2 * PAGE];
    let count = file.read_at(0, &mut back).map_err(|error| failed("read", error))?;
    if count != 2 * PAGE {
        return Err(unexpected("read", &format!("{} bytes", 2 * PAGE), &format!("{count}")));
    }
    if let Some(at) = (0..2 * PAGE).find(|&at| back[at] != if at < PAGE { 0 } else { bytes[at - PAGE] }) {
        return Err(unexpected("read", "what was written", &format!("byte {at} is {}", back[at])));
    }

    file.set_len(100).map_err(|error| failed("cut", error))?;
    match file.len().map_err(|error| failed("len", error))? {
        100 => Ok(()),
        len => Err(unexpected("cut", "100 bytes to be left", &format!("the length is {len}"))),
    }
}

fn failed(step: &str, error: Error) -> Error {
    Error::new(error.kind(), format!("the storage failed its sanity check at step {step:?}")).at(SCRATCH).because(error)
}

fn unexpected(step: &str, expected: &str, came: &str) -> Error {
    let context = format!("the storage failed its sanity check at step {step:?}: expected {expected}, but {came}");
    Error::new(Kind::Io, context).at(SCRATCH)
}
