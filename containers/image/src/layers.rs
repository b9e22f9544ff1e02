//! One file out of the layers of an ordinary image
//! ([the specification](https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md)).
//!
//! Nothing is unpacked. Layers are read from the highest to the lowest, until one has the file or says that it is not there.

use std::io::{self, Read};
use std::time::Instant;

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};

use crate::digest::Digest;
use crate::error::{self, ImageError};
use crate::manifest::{Descriptor, media};

/// The most bytes that a layer may have once it is decompressed.
const MAX_UNPACKED: u64 = 4 << 30;

/// The most entries that a layer may have.
pub(crate) const MAX_ENTRIES: usize = 1 << 20;

/// The most bytes that an entry may have that says more of the one after it.
const MAX_EXTENSION: u64 = 64 << 10;

/// What the name of an entry begins with that says that something is removed.
const WHITEOUT: &[u8] = b".wh.";

/// The name of an entry that says that all is removed that lower layers have beside it.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a layer has to say of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It has it.
    File(Vec<u8>),
    /// Lower layers decide.
    Nothing,
    /// It removes it, or what it is in.
    Removed,
}

/// The path of a file, as steps without `.` and empty ones.
#[derive(Debug)]
pub(crate) struct Wanted {
    steps: Vec<Vec<u8>>,
    /// The path, for messages.
    shown: String,
    /// The most bytes that the file may have.
    limit: u64,
    /// When it has to be found.
    ends: Instant,
}

impl Wanted {
    /// The file of at most `limit` bytes that the entrypoint `path`, relative to `directory` unless it is absolute, names, to
    /// be found until `ends`.
    pub(crate) fn new(directory: &str, path: &str, limit: u64, ends: Instant) -> Result<Self, ImageError> {
        let shown = if path.starts_with('/') { path.to_owned() } else { format!("{directory}/{path}") };
        match steps(shown.as_bytes()) {
            Some(found) if !found.is_empty() => Ok(Wanted { steps: found, shown: error::shown(&shown), limit, ends }),
            _ => {
                let (path, reason) = (error::shown(&shown), "is not a plain path: it is empty, or has `..`");
                Err(ImageError::Entrypoint { path, reason })
            }
        }
    }

    fn wrong(&self, reason: &'static str) -> ImageError {
        ImageError::Entrypoint { path: self.shown.clone(), reason }
    }

    /// That no layer has it.
    pub(crate) fn missing(&self) -> ImageError {
        self.wrong("is in no layer of the image")
    }

    /// Reads one layer, whose `content` is what its descriptor says. What it is before compression has to have the digest
    /// `unpacked`, if that is known.
    pub(crate) fn read(&self, layer: &Descriptor, content: &[u8], unpacked: Digest) -> Result<Found, ImageError> {
        let broken = |source| ImageError::Layer { digest: layer.digest, source };
        let plain: Box<dyn Read + '_> = match layer.media_type.as_str() {
            media::TAR => Box::new(content),
            media::TAR_GZIP | media::DOCKER_TAR_GZIP => Box::new(MultiGzDecoder::new(content)),
            other => return Err(ImageError::LayerType { media_type: error::shown(other) }),
        };
        let mut source = Counted { plain, left: MAX_UNPACKED, ends: self.ends, digest: Sha256::new() };
        let found = self.search(&mut source);
        let found = match found {
            Err(Failed::Tar(error)) => return Err(broken(error)),
            Err(Failed::Refused(error)) => Err(error),
            Ok(found) => Ok(found),
        }?;
        // What follows the end of the archive is part of the digest.
        io::copy(&mut source, &mut io::sink()).map_err(broken)?;
        let digest = Digest::from(source.digest);
        if digest != unpacked {
            let what = format!("what the layer {} unpacks to", layer.digest);
            return Err(ImageError::Mismatch { what, expected: unpacked, found: digest });
        }
        Ok(found)
    }

    fn search(&self, source: &mut impl Read) -> Result<Found, Failed> {
        let mut archive = Archive::new(source);
        // Of entries with the same name, the last one counts; what a layer removes is what lower ones have.
        let (mut found, mut removed) = (Found::Nothing, false);
        // What the entries before one say of it are read here: the library would read however much they have.
        let mut long = None;
        for (count, entry) in archive.entries()?.raw(true).enumerate() {
            if count >= MAX_ENTRIES {
                return Err(self.wrong("cannot be looked for: a layer has more than a million entries").into());
            }
            let mut entry = entry?;
            match entry.header().entry_type() {
                EntryType::GNULongName => {
                    let name = self.extension(&mut entry)?;
                    long = Some(name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec());
                    continue;
                }
                EntryType::XHeader => {
                    let extensions = self.extension(&mut entry)?;
                    let mut left = &extensions[..];
                    while !left.is_empty() {
                        let (key, value, rest) =
                            record(left).ok_or_else(|| io::Error::other("an extension of an entry is not valid"))?;
                        match key {
                            b"path" => long = Some(value.to_vec()),
                            // Only of files beyond 8 GiB is the size in the header not the whole.
                            b"size" => return Err(io::Error::other("an entry has its size in an extension").into()),
                            _ => {}
                        }
                        left = rest;
                    }
                    continue;
                }
                EntryType::GNULongLink | EntryType::XGlobalHeader => continue,
                _ => {}
            }
            let path = long.take().unwrap_or_else(|| entry.path_bytes().into_owned());
            let Some(path) = steps(&path) else { continue };
            let Some((name, directory)) = path.split_last() else { continue };
            let within = self.steps.starts_with(directory);
            if within && name.as_slice() == OPAQUE {
                // Of the very directory that the file would be in, or of one above.
                removed |= directory.len() < self.steps.len();
            } else if let Some(name) = name.strip_prefix(WHITEOUT)
                && within
                && self.steps.get(directory.len()).is_some_and(|step| step == name)
            {
                removed = true;
            } else if path == self.steps {
                found = match entry.header().entry_type() {
                    EntryType::Regular | EntryType::Continuous => Found::File(self.content(&mut entry)?),
                    _ => return Err(self.wrong("is not a regular file in the image").into()),
                };
            } else if self.steps.starts_with(&path) && entry.header().entry_type() != EntryType::Directory {
                return Err(self.wrong("leads through what is not a directory in the image").into());
            }
        }
        Ok(if found == Found::Nothing && removed { Found::Removed } else { found })
    }

    /// What an entry says of the one after it.
    fn extension(&self, entry: &mut impl Read) -> Result<Vec<u8>, Failed> {
        let mut content = Vec::new();
        entry.take(MAX_EXTENSION + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_EXTENSION {
            return Err(io::Error::other(format!("the name of an entry has more than {MAX_EXTENSION} bytes")).into());
        }
        Ok(content)
    }

    fn content(&self, entry: &mut impl Read) -> Result<Vec<u8>, Failed> {
        let mut content = Vec::new();
        entry.take(self.limit.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > self.limit {
            return Err(self.wrong("is larger than a guest may be").into());
        }
        Ok(content)
    }
}

/// Why a layer could not be searched.
enum Failed {
    Tar(io::Error),
    Refused(ImageError),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Tar(error)
    }
}

impl From<ImageError> for Failed {
    fn from(error: ImageError) -> Self {
        Failed::Refused(error)
    }
}

/// The first record of an extended header, `LENGTH KEY=VALUE` and a new line, and what follows it. It is as long as it says,
/// whatever is in its value.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().position(|byte| *byte == b' ')?;
    let digits =
        std::str::from_utf8(&text[..space]).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let (whole, rest) = text.split_at_checked(digits.parse().ok()?)?;
    let pair = whole.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some((&pair[..equals], &pair[equals + 1..], rest))
}

/// The steps of a path from the root of an image; none if one of them leads up.
fn steps(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let steps = path.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b"."));
    steps.map(|step| (step != b"..").then(|| step.to_vec())).collect()
}

/// Decompresses up to a limit and until a moment, and digests what it has decompressed.
struct Counted<'a> {
    plain: Box<dyn Read + 'a>,
    left: u64,
    ends: Instant,
    digest: Sha256,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() >= self.ends {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "there was no time left to decompress it"));
        }
        let read = self.plain.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other(format!("it has more than {} GiB once it is decompressed", MAX_UNPACKED >> 30))
        })?;
        self.digest.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn a_layer_is_not_decompressed_once_the_time_is_over() {
        let plain = vec![0; 1 << 20];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&plain).unwrap();
        let content = gzip.finish().unwrap();
        let layer = Descriptor::of(media::TAR_GZIP, &content);
        let read = |ends| Wanted::new("/", "app", 8, ends).unwrap().read(&layer, &content, Digest::of(&plain));
        assert_eq!(read(Instant::now() + Duration::from_secs(60)).unwrap(), Found::Nothing);
        let error = read(Instant::now()).unwrap_err();
        let over = |source: &io::Error| source.kind() == io::ErrorKind::TimedOut;
        assert!(matches!(&error, ImageError::Layer { source, .. } if over(source)), "{error:?}");
    }
}
