//! Docker's configuration, and helpers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures_executor::block_on;
use wharf_image::{Client, ClientOptions, Credential, DockerConfig, ImageError};

use crate::support::{Answer, Registry};

fn config(text: &str) -> (tempfile::TempDir, DockerConfig) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.json"), text).unwrap();
    let config = DockerConfig::in_directory(directory.path());
    (directory, config)
}

fn password(user: &str, password: &str) -> Option<Credential> {
    Some(Credential::Password { user: user.to_owned(), password: password.to_owned() })
}

/// A helper that runs this script. It is found by a path, since tests share their environment.
fn helper(directory: &Path, script: &str) -> String {
    let name = format!("test-{}", directory.file_name().unwrap().to_str().unwrap().trim_start_matches('.'));
    let file = directory.join(format!("docker-credential-{name}"));
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    name
}

fn asked(script: &str, patience: Duration) -> Result<Option<Credential>, ImageError> {
    let (directory, config) = config("");
    let name = helper(directory.path(), script);
    fs::write(directory.path().join("config.json"), format!("{{\"credsStore\":\"{name}\"}}")).unwrap();
    config.patience(patience).helpers_in(directory.path()).credential("example.com")
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn what_is_written_there_is_used() {
    let text = "{\"auths\":{\"example.com\":{\"auth\":\"dXNlcjpzZWNyZXQ=\"},\"other.com:5000\":{\"identitytoken\":\"t\"},\
                \"https://index.docker.io/v1/\":{\"auth\":\"aHViOmh1Yg==\"}},\"HttpHeaders\":{}}";
    let (_directory, config) = config(text);
    assert_eq!(config.credential("example.com").unwrap(), password("user", "secret"));
    assert_eq!(config.credential("other.com:5000").unwrap(), Some(Credential::Token("t".to_owned())));
    assert_eq!(config.credential("docker.io").unwrap(), password("hub", "hub"));
    assert_eq!(config.credential("example.com:5000").unwrap(), None);
    assert!(!format!("{:?}", config.credential("example.com").unwrap()).contains("secret"));
}

#[test]
fn what_is_not_there_or_not_valid_is_told_apart() {
    let none = DockerConfig::in_directory(Path::new("/nowhere/at/all"));
    assert_eq!(none.credential("example.com").unwrap(), None);
    for text in ["", "{", "[]", "{\"credsStore\":1}", "{\"auths\":{\"example.com\":{\"auth\":\"!\"}}}"] {
        let (_directory, config) = config(text);
        assert!(matches!(config.credential("example.com"), Err(ImageError::Credentials { .. })), "{text}");
    }
    for name in ["../evil", "a/b", "a b", "nowhere-to-be-found"] {
        let (_directory, config) = config(&format!("{{\"credHelpers\":{{\"example.com\":\"{name}\"}}}}"));
        assert!(matches!(config.credential("example.com"), Err(ImageError::Credentials { .. })), "{name}");
    }
}

#[test]
fn helpers_are_asked() {
    let answer = "read -r server; echo \"{\\\"Username\\\":\\\"$1\\\",\\\"Secret\\\":\\\"$server\\\"}\"";
    assert_eq!(asked(answer, SOON).unwrap(), password("get", "example.com"));
    let token = "echo '{\"Username\":\"<token>\",\"Secret\":\"t\"}'";
    assert_eq!(asked(token, SOON).unwrap(), Some(Credential::Token("t".to_owned())));
    assert_eq!(asked("echo credentials not found in native keychain; exit 1", SOON).unwrap(), None);
    for script in ["exit 1", "echo nothing", "echo '{}'", "yes", "kill -9 $$"] {
        assert!(matches!(asked(script, SOON), Err(ImageError::Credentials { .. })), "{script}");
    }
}

#[test]
fn a_helper_that_hangs_is_gone_afterwards() {
    let marks = tempfile::tempdir().unwrap();
    let marks = marks.path().to_str().unwrap();
    // It hangs, hangs after its answer, and leaves something behind that holds its output.
    for (number, script) in ["sleep 1000", "exec >&-; sleep 1000", "sleep 1000 & exit 0"].into_iter().enumerate() {
        let mark = format!("{marks}/{number}");
        let script = format!("echo $$ > {mark}; {script}");
        let begun = Instant::now();
        let error = asked(&script, Duration::from_secs(2)).unwrap_err();
        assert!(matches!(error, ImageError::Credentials { .. }), "{script}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{script}: it took {:?}", begun.elapsed());
        let group = fs::read_to_string(&mark).unwrap();
        // Whatever was in its group has ended, or is about to.
        let gone = || !members(group.trim());
        let waited = Instant::now();
        while !gone() {
            assert!(waited.elapsed() < SOON, "{script}: something is left");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_helper_ends_with_the_request_that_it_is_for() {
    let registry = Registry::start(|_| Answer::status("401 Who\r\nwww-authenticate: Basic realm=\"x\""));
    for dropped in [true, false] {
        let (directory, config) = config("");
        let mark = directory.path().join("mark");
        let name = helper(directory.path(), &format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 1000", mark.display()));
        fs::write(directory.path().join("config.json"), format!("{{\"credsStore\":\"{name}\"}}")).unwrap();
        let mut options = ClientOptions::default();
        options.credentials = Some(config.helpers_in(directory.path()));
        // Either nobody waits any more, or the time of the whole is over, which is less than that of a helper.
        options.timeout = if dropped { 10 * SOON } else { Duration::from_secs(3) };
        let begun = Instant::now();
        let client = Client::new(options);
        let reference = registry.reference("app");
        let mut pull = Box::pin(client.pull(&reference, &[], None));
        while fs::read_to_string(&mark).is_err() {
            assert!(pull.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            std::thread::sleep(Duration::from_millis(5));
        }
        let group = fs::read_to_string(&mark).unwrap();
        assert!(members(group.trim()));
        if dropped {
            drop(pull);
        } else {
            let error = block_on(pull).unwrap_err();
            assert!(matches!(error, ImageError::Late { .. }), "{error:?}");
            assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        }
        // It has been waited for; what it started is about to end.
        let waited = Instant::now();
        while members(group.trim()) {
            assert!(waited.elapsed() < SOON, "something is left");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether a process that has not ended is in this group.
fn members(group: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let after = stat.rsplit_once(") ").map(|(_, after)| after.split(' ').collect::<Vec<_>>()).unwrap_or_default();
        after.get(2) == Some(&group) && after.first() != Some(&"Z")
    })
}
