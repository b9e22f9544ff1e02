//! Small files, read up to a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::ImageError;

/// The content of `path`, which may have at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ImageError> {
    let read = || {
        let mut content = Vec::new();
        File::open(path)?.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::other(format!("it has more than {limit} bytes")));
        }
        Ok(content)
    };
    read().map_err(|source| ImageError::File { action: "read", path: path.to_owned(), source })
}
