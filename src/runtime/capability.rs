//! Capabilities (capabilities(7)): names, sets, and giving them up.
//!
//! libcontainer gives the container's first process its capabilities before our
//! executor runs, which still has to load a seccomp filter and give the terminal
//! away. So the spec asks for [`Capabilities::with_setup`], and the executor ends
//! with [`Capabilities::apply`], which leaves exactly the sets that were wanted.

use std::fmt;
use std::str::FromStr;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set,
    capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
};

use crate::error::{Context, Error, Result};

/// Each capability by its name without `CAP_`; its place is its number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// One capability that this program knows the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(u8);

impl Capability {
    pub const CHOWN: Self = Self(0);
    pub const DAC_OVERRIDE: Self = Self(1);
    pub const DAC_READ_SEARCH: Self = Self(2);
    pub const FOWNER: Self = Self(3);
    pub const FSETID: Self = Self(4);
    pub const KILL: Self = Self(5);
    pub const SETGID: Self = Self(6);
    pub const SETUID: Self = Self(7);
    pub const SETPCAP: Self = Self(8);
    pub const NET_BIND_SERVICE: Self = Self(10);
    pub const NET_ADMIN: Self = Self(12);
    pub const SYS_CHROOT: Self = Self(18);
    pub const SYS_ADMIN: Self = Self(21);
    pub const SETFCAP: Self = Self(31);

    /// The kernel's number of it.
    pub fn number(self) -> u8 {
        self.0
    }
}

/// `CAP_` and its name.
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", NAMES[usize::from(self.0)])
    }
}

/// A name with or without `CAP_`, in any case; the error is in Podman's words.
impl FromStr for Capability {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match NAMES.iter().position(|known| *known == name) {
            Some(number) => Ok(Self(number as u8)),
            None => Err(Error::usage(format!("\"CAP_{name}\": unknown capability"))),
        }
    }
}

/// A set of capabilities, as the kernel writes it: bit N is capability N.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct CapSet(u64);

impl CapSet {
    pub const EMPTY: Self = Self(0);
    /// All that this program knows the name of.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);
    /// What Podman gives a container that asks for nothing (containers.conf(5)).
    pub const DEFAULT: Self = Self::of(&[
        Capability::CHOWN,
        Capability::DAC_OVERRIDE,
        Capability::FOWNER,
        Capability::FSETID,
        Capability::KILL,
        Capability::NET_BIND_SERVICE,
        Capability::SETFCAP,
        Capability::SETGID,
        Capability::SETPCAP,
        Capability::SETUID,
        Capability::SYS_CHROOT,
    ]);
    /// What the executor needs before it gives up what the container may not have:
    /// seccomp(2) and mount propagation, the bounding set, the terminal's owner.
    pub const SETUP: Self = Self::of(&[
        Capability::SYS_ADMIN,
        Capability::SETPCAP,
        Capability::CHOWN,
    ]);

    pub const fn of(capabilities: &[Capability]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < capabilities.len() {
            bits |= 1 << capabilities[at].0;
            at += 1;
        }
        Self(bits)
    }

    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u64 {
        self.0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those whose names are known, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..NAMES.len() as u8)
            .map(Capability)
            .filter(move |it| self.contains(*it))
    }

    /// Their names with `CAP_`, sorted as Podman lists them.
    pub fn names(self) -> Vec<String> {
        let mut names: Vec<String> = self.iter().map(|it| it.to_string()).collect();
        names.sort();
        names
    }

    /// All that this program knows the name of.
    pub fn known() -> Self {
        Self((1 << NAMES.len()) - 1)
    }

    /// What this thread's programs may ever have: its bounding set.
    pub fn bounding() -> Self {
        let mut bits = 0;
        for number in 0..64 {
            match capability_is_in_bounding_set(bit(number)) {
                Ok(true) => bits |= 1 << number,
                Ok(false) => {}
                // EINVAL: the kernel has no capability of this number, nor a higher one.
                Err(_) => break,
            }
        }
        Self(bits)
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// `--cap-add` and `--cap-drop` on top of `base`, of what is `available`: Podman's
/// rules and words.
pub fn merge(base: CapSet, add: &[String], drop: &[String], available: CapSet) -> Result<CapSet> {
    let (add_all, add) = parse_list(add)?;
    let (drop_all, drop) = parse_list(drop)?;
    if drop_all {
        if add_all {
            return Err(Error::usage(
                "adding all caps and removing all caps not allowed",
            ));
        }
        return Ok(add.and(available));
    }
    let base = if add_all { available } else { base };
    if let Some(both) = add.and(drop).iter().next() {
        return Err(Error::usage(format!(
            "capability \"{both}\" cannot be dropped and added"
        )));
    }
    Ok(base.with(add).without(drop).and(available))
}

/// What `--cap-add` alone names: all that a user who is not root gets.
pub fn added(add: &[String], available: CapSet) -> Result<CapSet> {
    let (all, add) = parse_list(add)?;
    Ok(if all { available } else { add.and(available) })
}

fn parse_list(names: &[String]) -> Result<(bool, CapSet)> {
    let mut set = CapSet::EMPTY;
    let mut all = false;
    for name in names {
        if name.eq_ignore_ascii_case("all") || name.eq_ignore_ascii_case("cap_all") {
            all = true;
        } else {
            set = set.with(CapSet::of(&[name.parse()?]));
        }
    }
    Ok((all, set))
}

/// The five sets of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    pub bounding: CapSet,
    pub permitted: CapSet,
    pub effective: CapSet,
    pub inheritable: CapSet,
    pub ambient: CapSet,
}

impl Capabilities {
    /// A root user's: what `set` holds, through the bounding set.
    pub fn root(set: CapSet) -> Self {
        Self {
            bounding: set,
            permitted: set,
            effective: set,
            ..Self::default()
        }
    }

    /// Another user's: `bounding` is what its programs may gain, `kept` what it
    /// has, over execve too.
    pub fn user(bounding: CapSet, kept: CapSet) -> Self {
        Self {
            bounding,
            permitted: kept,
            effective: kept,
            inheritable: kept,
            ambient: kept,
        }
    }

    /// The same with [`CapSet::SETUP`], for the way from libcontainer to execve.
    /// It has no inheritable or ambient ones, so that none gets past execve.
    #[must_use]
    pub fn with_setup(&self) -> Self {
        Self::root(self.bounding.with(self.permitted).with(CapSet::SETUP))
    }

    /// This thread's, as they are.
    pub fn current() -> Result<Self> {
        let sets = capabilities(None).tried(|| "read capabilities")?;
        let mut ambient = 0;
        for number in 0..64 {
            match capability_is_in_ambient_set(bit(number)) {
                Ok(true) => ambient |= 1 << number,
                Ok(false) => {}
                Err(_) => break,
            }
        }
        Ok(Self {
            bounding: CapSet::bounding(),
            permitted: CapSet(sets.permitted.bits()),
            effective: CapSet(sets.effective.bits()),
            inheritable: CapSet(sets.inheritable.bits()),
            ambient: CapSet(ambient),
        })
    }

    /// Makes these the sets of this thread, and makes sure of it: an error if any
    /// set is not what it should be. What is not wanted is given up for good.
    pub fn apply(&self) -> Result<()> {
        clear_ambient_capability_set().tried(|| "clear ambient capabilities")?;
        // The bounding set first: to narrow it needs SETPCAP, which goes next.
        for number in 0..64 {
            match capability_is_in_bounding_set(bit(number)) {
                Ok(true) if self.bounding.0 & (1 << number) == 0 => {
                    remove_capability_from_bounding_set(bit(number))
                        .tried(|| format!("drop capability {number}"))?;
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let sets = CapabilitySets {
            effective: CapabilitySet::from_bits_retain(self.effective.0),
            permitted: CapabilitySet::from_bits_retain(self.permitted.0),
            inheritable: CapabilitySet::from_bits_retain(self.inheritable.0),
        };
        set_capabilities(None, sets).tried(|| "set capabilities")?;
        for number in 0..64 {
            if self.ambient.0 & (1 << number) != 0 {
                configure_capability_in_ambient_set(bit(number), true)
                    .tried(|| format!("raise ambient capability {number}"))?;
            }
        }
        let now = Self::current()?;
        if now == *self {
            Ok(())
        } else {
            Err(Error::other(format!(
                "capabilities are {now:?} and should be {self:?}"
            )))
        }
    }
}

fn bit(number: u8) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1 << number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::SoleThread;
    use crate::sys::process::{self, Fork, alone};

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn names_and_numbers_agree_with_the_kernels_header() {
        for (name, number) in [
            ("CAP_CHOWN", 0),
            ("setpcap", 8),
            ("Cap_Net_Admin", 12),
            ("SYS_ADMIN", 21),
            ("CAP_SETFCAP", 31),
            ("CAP_CHECKPOINT_RESTORE", 40),
        ] {
            assert_eq!(name.parse::<Capability>().unwrap().number(), number);
        }
        for capability in CapSet::ALL.iter() {
            assert_eq!(
                capability.to_string().parse::<Capability>().unwrap(),
                capability
            );
        }
        assert_eq!(
            "foo".parse::<Capability>().unwrap_err().to_string(),
            "\"CAP_FOO\": unknown capability"
        );
        assert!("".parse::<Capability>().is_err());
    }

    #[test]
    fn the_default_is_podmans() {
        assert_eq!(CapSet::DEFAULT.bits(), 0x800405fb);
        assert_eq!(CapSet::ALL.bits(), 0x1ff_ffff_ffff);
        assert_eq!(
            CapSet::DEFAULT.names()[..2],
            ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]
        );
    }

    /// The sets are those of /proc/self/status in Podman 5.8's containers.
    #[test]
    fn adding_and_dropping_follows_podman() {
        for (add, drop, set) in [
            (&[][..], &[][..], 0x800405fb),
            (&["NET_ADMIN"], &[], 0x800415fb),
            (&["NET_ADMIN"], &["ALL"], 0x1000),
            (&["all"], &["net_admin"], 0x1ff_ffff_efff),
            (&["chown"], &[], 0x800405fb),
            (&[], &["CAP_CHOWN"], 0x800405fa),
            (&[], &["all"], 0),
        ] {
            let merged = merge(CapSet::DEFAULT, &strings(add), &strings(drop), CapSet::ALL);
            assert_eq!(merged.unwrap().bits(), set, "{add:?} {drop:?}");
        }
        for (add, drop, words) in [
            (
                &["ALL"][..],
                &["all"][..],
                "adding all caps and removing all caps not allowed",
            ),
            (
                &["net_admin"],
                &["cap_net_admin"],
                "capability \"CAP_NET_ADMIN\" cannot be dropped and added",
            ),
            (&["foo"], &[], "\"CAP_FOO\": unknown capability"),
            (&[], &["foo"], "\"CAP_FOO\": unknown capability"),
        ] {
            let merged = merge(CapSet::DEFAULT, &strings(add), &strings(drop), CapSet::ALL);
            assert_eq!(merged.unwrap_err().to_string(), words);
        }
        let few = CapSet::of(&[Capability::CHOWN]);
        assert_eq!(
            merge(CapSet::DEFAULT, &strings(&["all"]), &[], few).unwrap(),
            few
        );
    }

    /// Does `work` in a child as `uid` with every capability.
    fn in_process(proof: SoleThread, uid: u32, work: impl FnOnce() -> Result<()>) {
        match process::fork(proof).unwrap() {
            Fork::Child => {
                let code = match enter(proof, uid).and_then(|()| work()) {
                    Ok(()) => 0,
                    Err(error) if error.to_string().starts_with("no namespace") => 0,
                    Err(error) => {
                        let words = format!("uid {uid}: {error}\n");
                        let _ = rustix::io::write(rustix::stdio::stdout(), words.as_bytes());
                        1
                    }
                };
                process::exit_now(code)
            }
            Fork::Parent(child) => assert_eq!(child.reap().unwrap(), 0, "see above"),
        }
    }

    /// Gets every capability, then becomes `uid` with all of them kept.
    fn enter(proof: SoleThread, uid: u32) -> Result<()> {
        if rustix::process::geteuid().is_root() {
            return become_user(uid);
        }
        // Only one id can be mapped by hand: `uid` itself.
        let (outer_uid, outer_gid) = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        process::unshare(proof, process::UnshareFlags::NEWUSER)
            .map_err(|error| Error::other(format!("no namespace: {error}")))?;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("{uid} {outer_uid} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("{uid} {outer_gid} 1"))?;
        Ok(())
    }

    fn become_user(uid: u32) -> Result<()> {
        rustix::thread::set_keep_capabilities(true)?;
        process::set_ids(uid, uid)?;
        let permitted = capabilities(None)?.permitted;
        let all = CapabilitySets {
            effective: permitted,
            permitted,
            inheritable: CapabilitySet::empty(),
        };
        Ok(set_capabilities(None, all)?)
    }

    fn status_after_exec() -> Result<Vec<u64>> {
        let output = std::process::Command::new("cat")
            .arg("/proc/self/status")
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let find = |key: &str| -> u64 {
            text.lines()
                .find_map(|line| line.strip_prefix(key))
                .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
                .unwrap_or(u64::MAX)
        };
        Ok(["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"]
            .iter()
            .map(|key| find(key))
            .collect())
    }

    /// The way of a container: the setup sets, then the wanted ones, then a program.
    fn exec_shows(proof: SoleThread, uid: u32, wanted: Capabilities, shown: [u64; 5]) {
        in_process(proof, uid, || {
            wanted.with_setup().apply()?;
            wanted.apply()?;
            let status = status_after_exec()?;
            if status != shown {
                return Err(Error::other(format!("{status:x?}, not {shown:x?}")));
            }
            let all = CapabilitySet::from_bits_retain(CapSet::ALL.bits());
            let all = CapabilitySets {
                effective: all,
                permitted: all,
                inheritable: CapabilitySet::empty(),
            };
            match set_capabilities(None, all) {
                Err(_) => Ok(()),
                Ok(()) => Err(Error::other("what was given up came back")),
            }
        });
    }

    #[test]
    fn a_root_user_keeps_exactly_what_was_wanted() {
        let Some(proof) =
            alone("runtime::capability::tests::a_root_user_keeps_exactly_what_was_wanted")
        else {
            return;
        };
        let default = CapSet::DEFAULT;
        let bits = default.bits();
        exec_shows(
            proof,
            0,
            Capabilities::root(default),
            [0, bits, bits, bits, 0],
        );
        exec_shows(proof, 0, Capabilities::root(CapSet::EMPTY), [0; 5]);
        let one = CapSet::of(&[Capability::NET_ADMIN]);
        exec_shows(
            proof,
            0,
            Capabilities::root(one),
            [0, 0x1000, 0x1000, 0x1000, 0],
        );
    }

    #[test]
    fn another_user_has_none_but_what_was_added() {
        let Some(proof) =
            alone("runtime::capability::tests::another_user_has_none_but_what_was_added")
        else {
            return;
        };
        let bits = CapSet::DEFAULT.bits();
        exec_shows(
            proof,
            1000,
            Capabilities::user(CapSet::DEFAULT, CapSet::EMPTY),
            [0, 0, 0, bits, 0],
        );
        let one = CapSet::of(&[Capability::NET_ADMIN]);
        let more = CapSet::DEFAULT.with(one);
        exec_shows(
            proof,
            1000,
            Capabilities::user(more, one),
            [0x1000, 0x1000, 0x1000, more.bits(), 0x1000],
        );
        exec_shows(
            proof,
            1000,
            Capabilities::user(CapSet::EMPTY, CapSet::EMPTY),
            [0; 5],
        );
    }

    #[test]
    fn what_cannot_be_had_is_an_error() {
        let Some(proof) = alone("runtime::capability::tests::what_cannot_be_had_is_an_error")
        else {
            return;
        };
        in_process(proof, 1000, || {
            Capabilities::user(CapSet::EMPTY, CapSet::EMPTY).apply()?;
            match Capabilities::root(CapSet::DEFAULT).apply() {
                Err(_) => Ok(()),
                Ok(()) => Err(Error::other("capabilities came from nothing")),
            }
        });
    }
}
