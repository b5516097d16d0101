//! The example's binary as a child process. Everything that is waited for has a deadline.

use serde_json::Value;
use std::ffi::OsStr;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

/// A running program; killed if it is dropped.
pub struct Program {
    child: Child,
    output: Receiver<String>,
    errors: Receiver<String>,
}

/// What a program has come to.
pub struct Finished {
    pub code: Option<i32>,
    pub output: String,
    /// Less what was read while it ran.
    pub errors: String,
}

/// Far more than anything here takes, on any machine.
const DEADLINE: Duration = Duration::from_secs(120);

impl Program {
    pub fn start(arguments: &[&Path]) -> Self {
        Self::start_in(&std::env::temp_dir(), arguments)
    }

    /// With another directory for temporary files.
    pub fn start_in(temporary: &Path, arguments: &[&Path]) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments).env("TMPDIR", temporary);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self { child, output: lines(output), errors: lines(errors) }
    }

    /// Runs it with `--json`: its exit code and the last line of its output, which is its only one.
    pub fn json(arguments: &[&Path]) -> (Option<i32>, Value) {
        let arguments: Vec<_> = arguments.iter().copied().chain([Path::new("--json")]).collect();
        let run = Self::start(&arguments).finish();
        (run.code, run.object())
    }

    /// The next line of its output.
    pub fn line(&mut self) -> String {
        self.output.recv_timeout(DEADLINE).expect("a line of output within the deadline")
    }

    /// The next line of its standard error.
    pub fn error_line(&mut self) -> String {
        self.errors.recv_timeout(DEADLINE).expect("a line on standard error within the deadline")
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What Ctrl-C does.
    pub fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }

    pub fn finish(mut self) -> Finished {
        let (output, errors) = (rest(&self.output), rest(&self.errors));
        // Both streams are at their end, so it has ended or is about to.
        Finished { code: self.child.wait().unwrap().code(), output, errors }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    pub fn object(&self) -> Value {
        assert_eq!(self.output.lines().count(), 1, "{}", self.output);
        serde_json::from_str(&self.output).unwrap()
    }
}

/// The example's binary, built if it is not up to date: cargo builds examples for all tests, but not for a chosen one.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.ancestors().nth(2).and_then(Path::file_name).and_then(OsStr::to_str).unwrap();
        let profile = if profile == "debug" { "dev" } else { profile };
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--quiet",
            "--example",
            "document_storage",
            "--message-format=json-render-diagnostics",
        ]);
        cargo.args(["--profile", profile]).current_dir(env!("CARGO_MANIFEST_DIR"));
        // Flags of a sanitizer, and the like, are the test's: without a target they would reach build scripts, too.
        if std::env::var("RUSTFLAGS").is_ok_and(|flags| flags.contains("-Z")) {
            cargo.env_remove("RUSTFLAGS");
        }
        let built = cargo.stderr(Stdio::inherit()).output().unwrap();
        assert!(built.status.success(), "the example does not build");
        let messages = built.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let messages = messages.map(|line| serde_json::from_slice::<Value>(line).unwrap());
        let mut executables =
            messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
        executables.next_back().expect("cargo says what it has built")
    })
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(stream).lines();
        lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}

fn rest(lines: &Receiver<String>) -> String {
    let mut rest = String::new();
    loop {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) => rest.extend([line.as_str(), "\n"]),
            Err(RecvTimeoutError::Disconnected) => return rest,
            Err(RecvTimeoutError::Timeout) => panic!("not at its end within the deadline; so far: {rest}"),
        }
    }
}
