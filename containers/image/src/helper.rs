//! Docker's credential helpers
//! ([their protocol](https://github.com/docker/docker-credential-helpers#development)).

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Deserialize;
use wharf_http::sending::deadline;

use crate::error;

/// The largest answer that is read.
const MAX_BYTES: u64 = 1 << 20;

/// How long it takes at most to see that a helper has ended that has closed its output.
const STEP: Duration = Duration::from_millis(5);

/// What is waited for while a helper runs.
enum Event {
    Answer(io::Result<Vec<u8>>),
    GivenUp,
}

/// A helper is asked, unless it is given up.
pub(crate) struct Asking {
    patience: Duration,
    events: (Sender<Event>, Receiver<Event>),
}

/// What ends the helper that an [`Asking`] runs.
pub(crate) struct Ends(Sender<Event>);

impl Asking {
    /// Helpers may take as long as `patience`.
    pub(crate) fn within(patience: Duration) -> (Self, Ends) {
        let events = mpsc::channel();
        let ends = Ends(events.0.clone());
        (Asking { patience, events }, ends)
    }

    /// What the helper `program` says of `server`, or what is wrong with it.
    pub(crate) fn ask(&self, program: &Path, server: &str) -> Result<Option<Answer>, String> {
        let mut command = Command::new(program);
        // A group of its own, so that what it starts ends with it.
        command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
        let mut helper = Helper { child, ended: false };
        let ends = deadline(self.patience).into_std();
        if let Some(mut input) = helper.child.stdin.take() {
            // A name of a server fits into the pipe; a helper that does not read it will say what it lacks.
            let _ = input.write_all(server.as_bytes());
        }
        let (sender, events) = &self.events;
        if let Some(output) = helper.child.stdout.take() {
            let sender = sender.clone();
            let reads = move || {
                let mut text = Vec::new();
                let read = output.take(MAX_BYTES).read_to_end(&mut text).map(|_| text);
                // Nobody waits for it any more if it came too late.
                let _ = sender.send(Event::Answer(read));
            };
            let thread = std::thread::Builder::new().name("wharf-credentials".to_owned()).spawn(reads);
            thread.map_err(|error| format!("cannot be read: {error}"))?;
        }
        let late = || format!("did not answer within {:?}, and was killed", self.patience);
        let given_up = || "was killed, since nobody waits for it any more".to_owned();
        let text = match events.recv_timeout(self.patience) {
            Ok(Event::Answer(text)) => text.map_err(|error| format!("cannot be read: {error}"))?,
            Ok(Event::GivenUp) => return Err(given_up()),
            Err(_) => return Err(late()),
        };
        let status = loop {
            match helper.end().map_err(|error| format!("cannot be waited for: {error}"))? {
                Some(status) => break status,
                None if Instant::now() >= ends => return Err(late()),
                None => match events.recv_timeout(STEP) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return Err(given_up()),
                },
            }
        };
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
}

impl Ends {
    /// What ends the helper that `thread` asks, and waits for that, when it is dropped.
    pub(crate) fn with(self, thread: JoinHandle<()>) -> Ended {
        Ended { given_up: self.0, thread: Some(thread) }
    }
}

/// See [`Ends::with`].
pub(crate) struct Ended {
    given_up: Sender<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        // If nobody gets it, the helper has ended.
        let _ = self.given_up.send(Event::GivenUp);
        if let Some(thread) = self.thread.take() {
            // Whether it panicked, who waits for its answer has seen.
            let _ = thread.join();
        }
    }
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
    ended: bool,
}

impl Helper {
    /// How it has ended, if it has; what it started is then ended, too.
    fn end(&mut self) -> io::Result<Option<ExitStatus>> {
        // It is left to be waited for, so that nobody else has its number when its group is ended.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(Pid::from_child(&self.child)), options)? {
            None => Ok(None),
            Some(_) => self.stop().map(Some),
        }
    }

    fn stop(&mut self) -> io::Result<ExitStatus> {
        self.ended = true;
        // Nothing is left to be ended if this fails.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.child.wait()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if !self.ended {
            // It has been killed, so that it is waited for in vain only if it was never there.
            let _ = self.stop();
        }
    }
}
