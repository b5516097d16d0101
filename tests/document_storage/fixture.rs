//! Directories with everything that real ones hold, and an independent count of them.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A directory of its own, removed with the fixture.
pub struct Fixture {
    directory: TempDir,
    /// Of the files that cannot be stored, how many for which cause.
    pub causes: BTreeMap<String, u64>,
}

/// What a directory holds, counted without the program.
#[derive(Debug, Default)]
pub struct Recount {
    pub stored: u64,
    pub failed: u64,
    pub bytes: u64,
    pub contents: HashSet<Vec<u8>>,
}

impl Fixture {
    /// How many files [`endless`](Self::endless) has.
    pub const ENDLESS: u64 = 4_000;

    /// Good files and bad ones. Permissions are no obstacle to root, who may run the tests, so nothing relies on them.
    pub fn whole() -> Self {
        let directory = TempDir::new().unwrap();
        let root = directory.path();
        let write = |path: &str, content: &[u8]| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("plain.txt", b"plain");
        write("nested/deeper/and/deeper/still.txt", b"still");
        for copy in ["copy", "nested/copy", "nested/deeper/copy"] {
            write(copy, b"the same content three times");
        }
        write("large", &(0..250_000_u32).flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>());
        for number in 0..200 {
            write(&format!("many/{number}"), format!("document {number}").as_bytes());
        }
        write("line\nbreak \x1b[2J", b"a name that a terminal must not see");
        write("empty", b"");
        write("nested/empty", b"");
        fs::create_dir(root.join("nothing")).unwrap();
        symlink("plain.txt", root.join("link")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        symlink("..", root.join("nested/up")).unwrap();
        symlink(".", root.join("here")).unwrap();
        drop(UnixListener::bind(root.join("socket")).unwrap());
        assert!(Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
        let mut causes = vec![("empty", 2), ("dangling_link", 2), ("not_a_file", 2)];
        if cfg!(target_os = "linux") {
            fs::write(root.join(OsStr::from_bytes(b"\xff\xfe not UTF-8")), b"any name").unwrap();
            // A regular file whose first byte cannot be read, whoever reads it.
            symlink("/proc/self/mem", root.join("unreadable")).unwrap();
            causes.push(("unreadable", 1));
        }
        let causes = causes.into_iter().map(|(cause, count)| (cause.to_owned(), count)).collect();
        Self { directory, causes }
    }

    /// Large files that take no room, and more time than any test has.
    pub fn endless() -> Self {
        let directory = TempDir::new().unwrap();
        for number in 0..Self::ENDLESS {
            let file = File::create(directory.path().join(number.to_string())).unwrap();
            file.set_len(256 << 10).unwrap();
        }
        Self { directory, causes: BTreeMap::new() }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Recount {
    pub fn of(directory: &Path) -> Self {
        let mut recount = Self::default();
        for path in files_below(directory) {
            let content =
                fs::metadata(&path).ok().filter(fs::Metadata::is_file).and_then(|_| fs::read(&path).ok());
            match content {
                Some(content) if !content.is_empty() => {
                    recount.stored += 1;
                    recount.bytes += content.len() as u64;
                    recount.contents.insert(content);
                }
                _ => recount.failed += 1,
            }
        }
        recount
    }
}

/// Everything below a directory that is neither a directory nor a link to one.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            files.extend(files_below(&path));
        } else if !fs::metadata(&path).is_ok_and(|target| target.is_dir()) {
            files.push(path);
        }
    }
    files
}
