//! `--chmod`: octal, or as chmod(1) has it in letters.

use crate::error::{Error, Result};

/// What becomes of modes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    To(u32),
    Change(Vec<Change>),
}

/// `ug+rX`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of `ugo`, as bits of a mode.
    who: u32,
    sign: char,
    /// `rwx`, as in the last three bits.
    bits: u32,
    /// `X`: as `x`, of folders and of what somebody may execute.
    some_execute: bool,
    special: bool,
    sticky: bool,
}

impl Chmod {
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::usage(format!("parsing chmod {text:?}: invalid mode"));
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).map_err(|_| wrong())?;
            return match mode <= 0o7777 {
                true => Ok(Self::To(mode)),
                false => Err(wrong()),
            };
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            let at = clause.find(['+', '-', '=']).ok_or_else(wrong)?;
            let mut who = 0;
            for letter in clause[..at].chars() {
                who |= match letter {
                    'u' => 0o4700,
                    'g' => 0o2070,
                    'o' => 0o1007,
                    'a' => 0o7777,
                    _ => return Err(wrong()),
                };
            }
            if who == 0 {
                who = 0o7777;
            }
            let mut rest = clause[at..].chars().peekable();
            while let Some(sign) = rest.next() {
                let mut change = Change {
                    who,
                    sign,
                    bits: 0,
                    some_execute: false,
                    special: false,
                    sticky: false,
                };
                if !"+-=".contains(sign) {
                    return Err(wrong());
                }
                while let Some(letter) = rest.next_if(|it| !"+-=".contains(*it)) {
                    match letter {
                        'r' => change.bits |= 4,
                        'w' => change.bits |= 2,
                        'x' => change.bits |= 1,
                        'X' => change.some_execute = true,
                        's' => change.special = true,
                        't' => change.sticky = true,
                        _ => return Err(wrong()),
                    }
                }
                changes.push(change);
            }
        }
        Ok(Self::Change(changes))
    }

    /// What `mode` becomes.
    pub fn of(&self, mode: u32, is_folder: bool) -> u32 {
        let changes = match self {
            Self::To(mode) => return *mode,
            Self::Change(changes) => changes,
        };
        let mut mode = mode & 0o7777;
        for change in changes {
            let mut three = change.bits;
            if change.some_execute && (is_folder || mode & 0o111 != 0) {
                three |= 1;
            }
            let mut bits = (three << 6 | three << 3 | three) & change.who;
            if change.special {
                bits |= 0o6000 & change.who;
            }
            if change.sticky {
                bits |= 0o1000;
            }
            mode = match change.sign {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => mode & !change.who | bits,
            };
        }
        mode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_as_chmod_has_it() {
        for (text, mode, is_folder, wanted) in [
            ("600", 0o755, false, 0o600),
            ("4755", 0, false, 0o4755),
            ("u+x", 0o644, false, 0o744),
            ("go-rwx", 0o755, true, 0o700),
            ("a=rX", 0o640, false, 0o444),
            ("a=rX", 0o640, true, 0o555),
            ("u=rwX,go=rX", 0o711, false, 0o755),
            ("+t", 0o777, true, 0o1777),
            ("u+s,g-w", 0o775, false, 0o4755),
            ("u=rw+x", 0, false, 0o700),
        ] {
            assert_eq!(
                Chmod::parse(text).unwrap().of(mode, is_folder),
                wanted,
                "{text}"
            );
        }
        for text in ["", "8", "77777", "z+x", "u", "u+q", "u+x,"] {
            assert!(Chmod::parse(text).is_err(), "{text}");
        }
    }
}
