//! Files as streams of bytes.

use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cap_std::fs::{File, FileExt};
use tokio::time::Sleep;

use crate::abi::wasi02::io::{End, Sink, Source};
use crate::run::Run;

/// How much a guest may write to a file at once.
const ROOM: u64 = 64 << 10;

/// How often a pipe or a device that has nothing to read, or no room, is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Where in a file a stream is.
pub(super) enum Position {
    At(u64),
    /// Wherever the file ends when something is written.
    End,
}

/// A file that is read or written at a position of the stream's own.
///
/// Files are opened without blocking, which means nothing to a regular file; a pipe or a device that would block is
/// tried again a little later.
pub(super) struct FileStream {
    file: Arc<File>,
    position: Position,
    retry: Option<Pin<Box<Sleep>>>,
}

impl FileStream {
    pub(super) fn new(file: Arc<File>, position: Position) -> Self {
        FileStream { file, position, retry: None }
    }

    fn offset(&self) -> std::io::Result<u64> {
        match self.position {
            Position::At(offset) => Ok(offset),
            Position::End => Ok(self.file.metadata()?.len()),
        }
    }

    fn advance(&mut self, by: usize) {
        if let Position::At(offset) = &mut self.position {
            *offset = offset.saturating_add(by as u64);
        }
    }

    fn would_block(&mut self) {
        let _entered = crate::io().enter();
        self.retry = Some(Box::pin(tokio::time::sleep(RETRY)));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(retry) = &mut self.retry
            && retry.as_mut().poll(context).is_pending()
        {
            return Poll::Pending;
        }
        self.retry = None;
        Poll::Ready(())
    }
}

impl Source for FileStream {
    fn read(&mut self, max: usize) -> Result<Bytes, End> {
        if max == 0 {
            return Ok(Bytes::new());
        }
        let mut buffer = vec![0; max];
        let offset = self.offset()?;
        match self.file.read_at(&mut buffer, offset) {
            Ok(0) => Err(End::Closed),
            Ok(len) => {
                buffer.truncate(len);
                self.advance(len);
                Ok(buffer.into())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                self.would_block();
                Ok(Bytes::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.poll(context)
    }
}

impl Sink for FileStream {
    fn room(&mut self) -> Result<u64, End> {
        Ok(ROOM)
    }

    fn write(&mut self, run: &Run, mut bytes: Bytes) -> Result<(), End> {
        while !bytes.is_empty() {
            let offset = self.offset()?;
            match self.file.write_at(&bytes, offset) {
                Ok(0) => return Err(std::io::Error::from(ErrorKind::WriteZero).into()),
                Ok(len) => {
                    self.advance(len);
                    bytes = bytes.split_off(len);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    run.sleep(RETRY).map_err(End::Stop)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn stuck(&mut self) -> Option<&'static str> {
        None
    }
}
