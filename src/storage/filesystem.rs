//! What a path lies on (statfs(2)).

use std::io;
use std::path::Path;

/// A file system, as far as a store on it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// containers/storage's word for it.
    pub kind: &'static str,
    /// Another machine serves it.
    pub is_remote: bool,
    /// It is gone with the next boot.
    pub is_volatile: bool,
    pub bytes: u64,
    /// What a user may still write.
    pub free: u64,
    /// Those that root may write, too.
    pub free_for_root: u64,
    /// How many files it can have; 0 where that is not fixed.
    pub files: u64,
    pub files_free: u64,
}

impl FileSystem {
    /// That of `path`, or of the nearest folder above it that is there.
    pub fn of(path: &Path) -> io::Result<Self> {
        let there = path.ancestors().find(|path| path.exists());
        let found = rustix::fs::statfs(there.unwrap_or(Path::new("/")))?;
        let block = u64::try_from(found.f_bsize).unwrap_or(0);
        let kind = kind(u64::try_from(found.f_type).unwrap_or(0) & 0xffff_ffff);
        Ok(Self {
            kind,
            is_remote: REMOTE.contains(&kind),
            is_volatile: matches!(kind, "tmpfs" | "ramfs"),
            bytes: found.f_blocks * block,
            free: found.f_bavail * block,
            free_for_root: found.f_bfree * block,
            files: found.f_files,
            files_free: found.f_ffree,
        })
    }
}

/// Those whose files another machine may change meanwhile, and where locks and
/// the owners of files are that one's business. FUSE may be anything.
const REMOTE: [&str; 10] = [
    "nfs", "smb", "smb2", "cifs", "ceph", "gpfs", "lustre", "afs", "9p", "fuse",
];

/// statfs(2) and the kernel's magic.h list these numbers.
fn kind(magic: u64) -> &'static str {
    match magic {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        0x2fc1_2fc1 => "zfs",
        0x6969 => "nfs",
        0x517b => "smb",
        0xfe53_4d42 => "smb2",
        0xff53_4d42 => "cifs",
        0x00c3_6400 => "ceph",
        0x4750_4653 => "gpfs",
        0x0bd0_0bd0 => "lustre",
        0x5346_414f => "afs",
        0x0102_1997 => "9p",
        0x6573_5546 => "fuse",
        0xf15f => "ecryptfs",
        0x794c_7630 => "overlayfs",
        0xf2f5_2010 => "f2fs",
        0xca45_1a4e => "bcachefs",
        _ => "<unknown>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_are_remote_are_known_as_such() {
        for magic in [0x6969, 0xff53_4d42, 0x6573_5546, 0x0102_1997] {
            assert!(REMOTE.contains(&kind(magic)), "{}", kind(magic));
        }
        assert!(!REMOTE.contains(&kind(0xef53)));
        assert!(REMOTE.iter().all(|word| *word != "<unknown>"));
        let proc = FileSystem::of(Path::new("/proc/no/such/path")).unwrap();
        assert_eq!((proc.kind, proc.is_remote), ("<unknown>", false));
    }
}
