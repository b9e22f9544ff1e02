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
use crate::limits::MAX_LAYER_BYTES;
use crate::manifest::{Descriptor, media};
use crate::working::Stop;

/// The most bytes that are read or decompressed before it is looked whether there is time.
const STEP: usize = 64 << 10;

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
    /// How many bytes may still be decompressed, of all layers.
    left: u64,
}

impl Wanted {
    /// The file of at most `limit` bytes that the entrypoint `path`, relative to `directory` unless it is absolute, names, to
    /// be found until `ends`.
    pub(crate) fn new(directory: &str, path: &str, limit: u64, ends: Instant) -> Result<Self, ImageError> {
        let shown = if path.starts_with('/') { path.to_owned() } else { format!("{directory}/{path}") };
        match steps(shown.as_bytes()) {
            Some(found) if !found.is_empty() => {
                Ok(Wanted { steps: found, shown: error::shown(&shown), limit, ends, left: MAX_LAYER_BYTES })
            }
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

    /// Reads one layer, whose `content` is what its descriptor says, until it is to `stop`. What it is before compression has
    /// to have the digest `unpacked`.
    pub(crate) fn read(
        &mut self,
        layer: &Descriptor,
        content: &[u8],
        unpacked: Digest,
        stop: &Stop,
    ) -> Result<Found, ImageError> {
        let broken = |source| ImageError::Layer { digest: layer.digest, source };
        let until = Until { ends: self.ends, stop };
        let plain = plain(&layer.media_type, Timely { content, until })?;
        let mut source = Counted { plain, left: self.left, until, digest: Sha256::new() };
        let found = self.search(&mut source);
        let found = match found {
            Err(Failed::Tar(error)) => return Err(broken(error)),
            Err(Failed::Refused(error)) => Err(error),
            Ok(found) => Ok(found),
        }?;
        // What follows the end of the archive is part of the digest.
        io::copy(&mut source, &mut io::sink()).map_err(broken)?;
        self.left = source.left;
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

/// Until when a layer is read.
#[derive(Clone, Copy)]
struct Until<'a> {
    ends: Instant,
    stop: &'a Stop,
}

impl Until<'_> {
    fn check(self) -> io::Result<()> {
        if self.stop.is_set() {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        if Instant::now() >= self.ends {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "there was no time left to decompress it"));
        }
        Ok(())
    }
}

/// What a layer of this type is before it is compressed.
fn plain<'a>(media_type: &str, content: impl Read + 'a) -> Result<Box<dyn Read + 'a>, ImageError> {
    match media_type {
        media::TAR => Ok(Box::new(content)),
        media::TAR_GZIP | media::DOCKER_TAR_GZIP => Ok(Box::new(MultiGzDecoder::new(content))),
        other => Err(ImageError::LayerType { media_type: error::shown(other) }),
    }
}

/// Gives a little at a time, while there is time: what decompresses it reads on for as long as nothing comes of it.
struct Timely<'a, R> {
    content: R,
    until: Until<'a>,
}

impl<R: Read> Read for Timely<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.until.check()?;
        let length = buffer.len().min(STEP);
        self.content.read(&mut buffer[..length])
    }
}

/// Decompresses up to a limit and while there is time, and digests what it has decompressed.
struct Counted<'a> {
    plain: Box<dyn Read + 'a>,
    left: u64,
    until: Until<'a>,
    digest: Sha256,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.until.check()?;
        let length = buffer.len().min(STEP);
        let read = self.plain.read(&mut buffer[..length])?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other(format!(
                "with those above it, it has more than {} GiB once it is decompressed, the most that is read of an image",
                MAX_LAYER_BYTES >> 30
            ))
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

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(plain).unwrap();
        gzip.finish().unwrap()
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_layer_is_not_decompressed_once_the_time_is_over() {
        let plain = vec![0; 1 << 20];
        let content = gzip(&plain);
        let layer = Descriptor::of(media::TAR_GZIP, &content);
        let read = |ends, stop: &Stop| {
            Wanted::new("/", "app", 8, ends).unwrap().read(&layer, &content, Digest::of(&plain), stop)
        };
        let stop = Stop::default();
        assert_eq!(read(Instant::now() + MINUTE, &stop).unwrap(), Found::Nothing);
        let error = read(Instant::now(), &stop).unwrap_err();
        let over = |source: &io::Error| source.kind() == io::ErrorKind::TimedOut;
        assert!(matches!(&error, ImageError::Layer { source, .. } if over(source)), "{error:?}");
        stop.set();
        let error = read(Instant::now() + MINUTE, &stop).unwrap_err();
        let stopped = |source: &io::Error| source.to_string().contains("nobody waits");
        assert!(matches!(&error, ImageError::Layer { source, .. } if stopped(source)), "{error:?}");
    }

    /// Calls this each time that it is read.
    struct Reading<F>(F);

    impl<F: FnMut(&mut [u8]) -> io::Result<usize>> Read for Reading<F> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0(buffer)
        }
    }

    #[test]
    fn time_is_looked_at_where_nothing_comes_of_what_is_read() {
        // A million members, each of which is empty: all of them are read before the first byte is there.
        let content = gzip(b"").repeat(1_000_000);
        for given_up in [true, false] {
            let stop = Stop::default();
            let until = Until { ends: Instant::now() + if given_up { MINUTE } else { MINUTE / 2000 }, stop: &stop };
            let mut left = &content[..];
            let source = Reading(|buffer: &mut [u8]| {
                match given_up {
                    true => stop.set(),
                    false => std::thread::sleep(until.ends.saturating_duration_since(Instant::now())),
                }
                left.read(buffer)
            });
            let mut decoder = plain(media::TAR_GZIP, Timely { content: source, until }).unwrap();
            let read = decoder.read(&mut [0; 512]);
            drop(decoder);
            assert!(read.is_err(), "{given_up}: {read:?}");
            assert!(content.len() - left.len() <= STEP, "{given_up}: {} bytes were read", content.len() - left.len());
        }
    }

    #[test]
    fn all_layers_share_what_may_be_decompressed() {
        let mut wanted = Wanted::new("/", "app", 8, Instant::now() + MINUTE).unwrap();
        wanted.left = 200 << 10;
        for number in 0..4 {
            let plain = vec![0; 64 << 10];
            let content = gzip(&plain);
            let layer = Descriptor::of(media::TAR_GZIP, &content);
            let read = wanted.read(&layer, &content, Digest::of(&plain), &Stop::default());
            match number {
                0..3 => assert_eq!(read.unwrap(), Found::Nothing),
                _ => assert!(matches!(read, Err(ImageError::Layer { .. })), "{read:?}"),
            }
        }
    }
}
