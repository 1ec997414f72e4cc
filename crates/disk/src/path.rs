//! Which paths a disk takes. One rule for every implementation, so that a name that works in a test works in OPFS.

use crate::{Error, Kind, Result};

/// The longest path, and the longest segment of one, in bytes.
const MAX_PATH_BYTES: usize = 1024;
const MAX_SEGMENT_BYTES: usize = 250;

/// Accepts relative paths of segments separated by `/`: none of them empty, `.` or `..`, none with a backslash or a
/// control character, none ending in a dot or a space (which some platforms' file systems drop in silence).
///
/// # Errors
/// [`Kind::Invalid`], naming the path and what is wrong with it.
pub fn validate(path: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::new(Kind::Invalid, format!("the file name {path:?} {why}")));
    if path.is_empty() {
        return refuse("is empty");
    }
    if path.len() > MAX_PATH_BYTES {
        return refuse("is longer than 1024 bytes");
    }
    for segment in path.split('/') {
        match segment {
            "" => return refuse("has an empty segment (a leading, trailing or double slash)"),
            "." | ".." => return refuse("has a segment \".\" or \"..\""),
            _ if segment.len() > MAX_SEGMENT_BYTES => return refuse("has a segment longer than 250 bytes"),
            _ if segment.contains('\\') => return refuse("has a backslash"),
            _ if segment.chars().any(char::is_control) => return refuse("has a control character"),
            _ if segment.ends_with(['.', ' ']) => return refuse("has a segment that ends in a dot or a space"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for path in ["a", "app.db", "dir/sub/ü ☃.db-journal", ".hidden", "a:b*c?"] {
            validate(path).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn what_a_platform_might_bend_is_refused_by_name() {
        let long = "x".repeat(251);
        let deep = "x/".repeat(600) + "x";
        for path in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a\0b", "a\nb", "a.", "a /b", &long, &deep]
        {
            let error = validate(path).expect_err(path);
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.to_string().contains(&format!("{path:?}")));
        }
    }
}
