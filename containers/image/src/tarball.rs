//! Tars whose bytes depend on nothing but what is in them.

use std::io::{self, Write};

use tar::{Builder, EntryType, Header};

/// Adds a directory, whose `path` ends with `/`, or else a file with this mode.
pub(crate) fn append(tar: &mut Builder<impl Write>, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(if path.ends_with('/') { EntryType::Directory } else { EntryType::Regular });
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    tar.append_data(&mut header, path, content)
}
