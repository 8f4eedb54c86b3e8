//! `exit.json`, which is written whatever room the disk has left: a container's code
//! is what its owner has waited for.
//!
//! Room for it is taken when the container starts, by a file that is written over and
//! renamed when nothing new can be made. A container that goes with its end (`--rm`)
//! has no `exit.json`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Exit;
use crate::error::{Context, Result};
use crate::storage::write_json;
use crate::sys::file::{Durable, sync_dir};

const ROOM: usize = 4096;

/// Takes room in the container's folder.
pub fn reserve(dir: &Path) -> Result<()> {
    let path = dir.join("exit.reserve");
    // Bytes that are there: a hole takes no room.
    std::fs::write(&path, [b' '; ROOM]).tried(|| format!("write {}", path.display()))
}

/// Writes `exit.json`.
pub fn write(dir: &Path, exit: &Exit, durable: Durable) -> Result<()> {
    let written = write_json(&dir.join("exit.json"), exit, durable)
        .or_else(|error| write_over(dir, exit).map_err(|_| error));
    if written.is_ok() && !exit.restarting {
        let _ = std::fs::remove_file(dir.join("exit.reserve"));
    }
    written
}

/// Puts it where room was taken.
fn write_over(dir: &Path, exit: &Exit) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(exit)?;
    if bytes.len() > ROOM {
        bytes = serde_json::to_vec(&Exit {
            error: None,
            ..exit.clone()
        })?;
    }
    // What follows is white space, which JSON allows.
    bytes.resize(ROOM, b' ');
    let reserve = dir.join("exit.reserve");
    let file = File::options().write(true).open(&reserve)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_data()?;
    std::fs::rename(&reserve, dir.join("exit.json"))?;
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::read_json;

    #[test]
    fn the_reserve_becomes_the_exit() {
        let dir = std::env::temp_dir().join(format!("coracle-{}", crate::id::random_hex::<8>()));
        std::fs::create_dir(&dir).unwrap();
        let exit = |code, error: Option<String>| Exit {
            code,
            started: None,
            finished: jiff::Timestamp::now(),
            oom_killed: false,
            error,
            stopped_by_user: false,
            restarting: false,
        };
        let read = || read_json::<Exit>(&dir.join("exit.json")).unwrap().unwrap();
        reserve(&dir).unwrap();
        write(&dir, &exit(1, None), Durable::No).unwrap();
        assert_eq!(read().code, 1);
        assert!(!dir.join("exit.reserve").exists());
        // As where there is no room for a new file.
        assert!(write_over(&dir, &exit(2, None)).is_err());
        reserve(&dir).unwrap();
        write_over(&dir, &exit(3, Some("x".repeat(ROOM)))).unwrap();
        assert_eq!((read().code, read().error), (3, None));
        assert!(!dir.join("exit.reserve").exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
