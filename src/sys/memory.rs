//! Memory that a process which stays gives back to the kernel.

use std::fs;

/// Gives back what was needed to get here and will not be soon: free heap, the
/// part of the stack below us, and our own program's pages, which come back from
/// the page cache one by one as they are run.
pub fn give_back() {
    trim_heap();
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else {
        return;
    };
    let here = 0u8;
    let top = (&raw const here) as usize;
    for line in maps.lines() {
        let Some(map) = Map::parse(line) else {
            continue;
        };
        if map.is_program() {
            discard(map.start, map.end);
        } else if map.name == "[stack]" {
            // Our own frame and what it calls stay.
            discard(
                map.start,
                (top & !(PAGE - 1)).saturating_sub(4 * PAGE).max(map.start),
            );
        }
    }
}

const PAGE: usize = 4096;

/// A line of /proc/self/maps (proc_pid_maps(5)).
struct Map<'a> {
    start: usize,
    end: usize,
    permissions: &'a str,
    offset: u64,
    inode: u64,
    name: &'a str,
}

impl<'a> Map<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let hex = |text| usize::from_str_radix(text, 16).ok();
        Some(Self {
            start: hex(start)?,
            end: hex(end)?,
            permissions: words.next()?,
            offset: u64::from_str_radix(words.next()?, 16).ok()?,
            inode: words.nth(1)?.parse().ok()?,
            name: words.next().unwrap_or(""),
        })
    }

    /// Code and constants, which no relocation has changed: what is read-only but
    /// was written to at start-up lies behind the code, not at the file's beginning.
    fn is_program(&self) -> bool {
        self.inode != 0
            && (self.permissions == "r-xp" || (self.permissions == "r--p" && self.offset == 0))
    }
}

fn discard(start: usize, end: usize) {
    if end > start {
        // SAFETY: the range is either unmodified pages of a file, which the kernel
        // reads again when they are touched, or stack below every live frame.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
}

/// Gives heap that was freed back to the kernel (malloc_trim(3)).
fn trim_heap() {
    // SAFETY: malloc_trim touches only the allocator's own free memory.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_and_code_are_told_from_what_was_relocated() {
        let is = |line| Map::parse(line).unwrap().is_program();
        assert!(is(
            "00200000-004a7000 r--p 00000000 fe:00 820675    /bin/coracle"
        ));
        assert!(is(
            "004a7000-00d5d000 r-xp 002a6000 fe:00 820675    /bin/coracle"
        ));
        assert!(!is(
            "00d5d000-00d63000 r--p 00b5b000 fe:00 820675    /bin/coracle"
        ));
        assert!(!is(
            "06d4c000-06d6e000 rw-p 00000000 00:00 0         [heap]"
        ));
        assert!(!is(
            "7f4b7b191000-7f4b7b193000 r-xp 00000000 00:00 0 [vdso]"
        ));
    }

    #[test]
    fn the_process_goes_on() {
        let kept = vec![7u8; 100_000];
        give_back();
        assert!(kept.iter().all(|byte| *byte == 7));
    }
}
