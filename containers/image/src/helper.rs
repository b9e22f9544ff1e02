//! Docker's credential helpers
//! ([their protocol](https://github.com/docker/docker-credential-helpers#development)).

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Deserialize;
use wharf_http::sending::deadline;

use crate::error;
use crate::working::Stop;

/// The largest answer that is read.
const MAX_BYTES: usize = 1 << 20;

/// How long it takes at most to see what a helper does.
const STEP: Duration = Duration::from_millis(5);

/// How long the output of a helper is read once it has ended, if something else holds it open, and may still write to it.
const GRACE: Duration = Duration::from_secs(1);

/// What the helper `program` says of `server`, or what is wrong with it. It may take as long as `patience`, and until it is
/// to `stop`; then it is killed.
pub(crate) fn ask(program: &Path, server: &str, patience: Duration, stop: &Stop) -> Result<Option<Answer>, String> {
    let mut command = Command::new(program);
    // A group of its own, so that what it starts ends with it.
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
    let mut helper = Helper { child, waited: false };
    let ends = deadline(patience).into_std();
    if let Some(mut input) = helper.child.stdin.take() {
        // A name of a server fits into the pipe; a helper that does not read it will say what it lacks.
        let _ = input.write_all(server.as_bytes());
    }
    let unread = |error: io::Error| format!("cannot be read: {error}");
    let mut output = helper.child.stdout.take();
    if let Some(output) = &output {
        ioctl_fionbio(output, true).map_err(|error| unread(error.into()))?;
    }
    let (mut text, mut ended) = (Vec::new(), None);
    loop {
        if ended.is_none() && helper.has_ended().map_err(|error| format!("cannot be waited for: {error}"))? {
            ended = Some(Instant::now());
        }
        // What it has written before it ended is there by now.
        if let Some(open) = &mut output
            && !read(open, &mut text).map_err(unread)?
        {
            output = None;
        }
        let late = Instant::now() >= ends;
        match ended {
            Some(since) if output.is_none() || late || since.elapsed() >= GRACE => break,
            None if late => return Err(format!("did not answer within {patience:?}, and was killed")),
            _ if stop.is_set() => return Err("was killed, since nobody waits for it any more".to_owned()),
            _ => std::thread::sleep(STEP),
        }
    }
    let status = helper.stop().map_err(|error| format!("cannot be waited for: {error}"))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&text);
        // What all helpers say of a server that they do not know.
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(format!("failed: {}", error::shown(&said)));
    }
    serde_json::from_slice(&text).map(Some).map_err(|_| "gave an answer that is not valid".to_owned())
}

/// Reads what is there of an answer, and says whether more of it may come.
fn read(output: &mut ChildStdout, text: &mut Vec<u8>) -> io::Result<bool> {
    let mut part = [0; 4096];
    while text.len() < MAX_BYTES {
        match output.read(&mut part) {
            Ok(0) => return Ok(false),
            Ok(some) => text.extend_from_slice(&part[..some]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// What a helper answers.
#[derive(Deserialize)]
pub(crate) struct Answer {
    #[serde(rename = "Username")]
    pub(crate) user: String,
    #[serde(rename = "Secret")]
    pub(crate) secret: String,
}

/// A helper that is gone, with what it started, once nobody waits for it.
struct Helper {
    child: Child,
    waited: bool,
}

impl Helper {
    fn has_ended(&self) -> io::Result<bool> {
        // It is left to be waited for, so that nobody else has its number when its group is ended.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(Pid::from_child(&self.child)), options)?.is_some())
    }

    /// Ends it, unless it has ended, and what it started.
    fn stop(&mut self) -> io::Result<ExitStatus> {
        self.waited = true;
        // Nothing is left to be ended if this fails.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.child.wait()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if !self.waited {
            // It has been killed, so that it is waited for in vain only if it was never there.
            let _ = self.stop();
        }
    }
}
