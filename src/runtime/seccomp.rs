//! The seccomp filter (seccomp(2)): a profile compiled to BPF once, then kept.
//!
//! ```text
//! $XDG_CACHE_HOME/coracle/seccomp/<key>.bpf    sha256 of what follows, flags, instructions
//! ```
//!
//! The key is the profile, the architecture, libseccomp's version and the
//! capabilities, since each of them changes the result. Compiling costs 17 ms, far
//! more than the rest of a start; a file that is damaged is made again.
//!
//! `seccomp.json` is the default profile of Podman 5.8, from containers-common
//! (Apache-2.0): data, in the format that `--security-opt seccomp=FILE` takes too.

use std::io::ErrorKind;
use std::path::Path;

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
    ScmpVersion,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::capability::{CapSet, Capability};
use crate::error::{Context, Error, Result};
use crate::sys::file::{Durable, write_whole};

const DEFAULT: &str = include_str!("seccomp.json");

/// Which system calls a container may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile<'a> {
    /// Podman's own.
    Default,
    /// All of them.
    Unconfined,
    /// What this file says.
    File(&'a Path),
}

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Instructions, 8 bytes each (`struct sock_filter`).
    pub program: Vec<u8>,
    /// SECCOMP_FILTER_FLAG_*.
    pub flags: u32,
}

impl Filter {
    /// Puts it on this thread and all that it will start. Without no_new_privs
    /// this needs CAP_SYS_ADMIN, so it comes before capabilities are given up.
    pub fn load(&self) -> Result<()> {
        crate::sys::process::load_seccomp(&self.program, self.flags)
            .tried(|| "load the seccomp filter")
    }
}

/// The filter of `profile` for programs that may have `bounding`: from `cache`, or
/// compiled and put there. `None` is no filter.
pub fn filter(cache: &Path, profile: Profile<'_>, bounding: CapSet) -> Result<Option<Filter>> {
    let text = match profile {
        Profile::Unconfined => return Ok(None),
        Profile::Default => DEFAULT.to_owned(),
        Profile::File(path) => read(path)?,
    };
    let file = cache
        .join("seccomp")
        .join(format!("{}.bpf", key(&text, bounding)?));
    if let Some(kept) = std::fs::read(&file).ok().as_deref().and_then(unpack) {
        return Ok(Some(kept));
    }
    let made = compile(&text, bounding).map_err(|error| match profile {
        Profile::File(path) => error.tried(format_args!(
            "loading seccomp profile ({}) failed",
            path.display()
        )),
        _ => error.tried("compile the default seccomp profile"),
    })?;
    // A cache that cannot be written to is no reason not to run.
    if std::fs::create_dir_all(cache.join("seccomp")).is_ok() {
        let _ = write_whole(&file, &pack(&made), Durable::No);
    }
    Ok(Some(made))
}

fn read(path: &Path) -> Result<String> {
    let tried = || format!("opening seccomp profile failed: open {}", path.display());
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::other("no such file or directory").tried(tried()),
        ErrorKind::PermissionDenied => Error::other("permission denied").tried(tried()),
        _ => Error::from(error).tried(tried()),
    })
}

fn key(text: &str, bounding: CapSet) -> Result<String> {
    let version = ScmpVersion::current().map_err(library)?;
    let mut hash = Sha256::new();
    hash.update(format!(
        "1 {} {}.{}.{} {:x} ",
        std::env::consts::ARCH,
        version.major,
        version.minor,
        version.micro,
        bounding.bits()
    ));
    if text.contains("minKernel") {
        hash.update(kernel());
    }
    hash.update(text);
    Ok(crate::id::hex(&hash.finalize()))
}

fn pack(filter: &Filter) -> Vec<u8> {
    let mut body = filter.flags.to_le_bytes().to_vec();
    body.extend(&filter.program);
    let mut bytes = Sha256::digest(&body).to_vec();
    bytes.extend(body);
    bytes
}

fn unpack(bytes: &[u8]) -> Option<Filter> {
    let (sum, body) = bytes.split_at_checked(32)?;
    let (flags, program) = body.split_first_chunk::<4>()?;
    let whole = !program.is_empty() && program.len() % 8 == 0;
    (whole && Sha256::digest(body).as_slice() == sum).then(|| Filter {
        program: program.to_vec(),
        flags: u32::from_le_bytes(*flags),
    })
}

/// The format of containers-common's and Docker's profiles, and, as far as it goes,
/// of the runtime-spec's `linux.seccomp`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    default_action: String,
    default_errno_ret: Option<u32>,
    default_errno: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    errno: Option<String>,
    #[serde(default)]
    args: Option<Vec<Arg>>,
    #[serde(default)]
    includes: Option<Condition>,
    #[serde(default)]
    excludes: Option<Condition>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

fn compile(text: &str, bounding: CapSet) -> Result<Filter> {
    let json: Json = serde_json::from_str(text).tried(|| "decoding seccomp profile failed")?;
    if json
        .listener_path
        .as_deref()
        .is_some_and(|it| !it.is_empty())
    {
        return Err(Error::unsupported("listenerPath of a seccomp profile"));
    }
    let default = action(
        &json.default_action,
        json.default_errno_ret,
        json.default_errno.as_deref(),
    )?;
    let mut context = ScmpFilterContext::new(default).map_err(library)?;
    for arch in architectures(&json)? {
        // EEXIST is none of a problem: the native one is there already.
        if !context.is_arch_present(arch).map_err(library)? {
            context.add_arch(arch).map_err(library)?;
        }
    }
    context.set_ctl_nnp(false).map_err(library)?;
    // A binary tree over the numbers instead of a list: libseccomp 2.5.
    let _ = context.set_ctl_optimize(2);
    for rule in json.syscalls.iter().flatten() {
        if applies(rule, bounding)? {
            add(&mut context, rule, default)?;
        }
    }
    Ok(Filter {
        program: export(&context)?,
        flags: flags(json.flags.as_deref().unwrap_or_default())?,
    })
}

/// Those of this machine: its own, and those it can run beside it.
fn architectures(json: &Json) -> Result<Vec<ScmpArch>> {
    let listed = json.architectures.as_deref().unwrap_or_default();
    let maps = json.arch_map.as_deref().unwrap_or_default();
    if !listed.is_empty() && !maps.is_empty() {
        return Err(Error::usage(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
        ));
    }
    let mut names: Vec<&str> = listed.iter().map(String::as_str).collect();
    for map in maps {
        if map.architecture.parse::<ScmpArch>().ok() == Some(ScmpArch::native()) {
            names.push(&map.architecture);
            names.extend(map.sub_architectures.iter().flatten().map(String::as_str));
            break;
        }
    }
    names
        .into_iter()
        .map(|name| {
            name.parse()
                .map_err(|_| Error::usage(format!("{name:?} is not a seccomp architecture")))
        })
        .collect()
}

/// Whether a rule's conditions hold: any that is excluded is enough to leave it
/// out, all that are included must be there.
fn applies(rule: &Rule, bounding: CapSet) -> Result<bool> {
    let has = |name: &str| {
        name.parse::<Capability>()
            .is_ok_and(|capability| bounding.contains(capability))
    };
    if let Some(excludes) = &rule.excludes {
        let caps = excludes.caps.iter().flatten().any(|it| has(it));
        let arches = excludes.arches.iter().flatten().any(|it| it == go_arch());
        let kernel = excludes.min_kernel.as_deref().map(is_kernel).transpose()?;
        if caps || arches || kernel == Some(true) {
            return Ok(false);
        }
    }
    if let Some(includes) = &rule.includes {
        let caps = includes.caps.iter().flatten().all(|it| has(it));
        let arches = includes.arches.as_deref().unwrap_or_default();
        let arch = arches.is_empty() || arches.iter().any(|it| it == go_arch());
        let kernel = includes.min_kernel.as_deref().map(is_kernel).transpose()?;
        return Ok(caps && arch && kernel != Some(false));
    }
    Ok(true)
}

fn add(context: &mut ScmpFilterContext, rule: &Rule, default: ScmpAction) -> Result<()> {
    let action = action(&rule.action, rule.errno_ret, rule.errno.as_deref())?;
    // What is done anyway needs no rule, and libseccomp refuses one.
    if action == default {
        return Ok(());
    }
    let args = rule.args.as_deref().unwrap_or_default();
    let compares = args.iter().map(compare).collect::<Result<Vec<_>>>()?;
    // Conditions on one argument twice are alternatives; else all must hold.
    let twice = args
        .iter()
        .enumerate()
        .any(|(at, arg)| args[..at].iter().any(|other| other.index == arg.index));
    for name in rule.names.iter().flatten().chain(&rule.name) {
        // A call that this libseccomp does not know gets the default action.
        let Ok(syscall) = ScmpSyscall::from_name(name) else {
            continue;
        };
        let added = if compares.is_empty() {
            context.add_rule(action, syscall).map(drop)
        } else if twice {
            compares.iter().try_for_each(|compare| {
                context
                    .add_rule_conditional(action, syscall, &[*compare])
                    .map(drop)
            })
        } else {
            context
                .add_rule_conditional(action, syscall, &compares)
                .map(drop)
        };
        added
            .map_err(library)
            .tried(|| format!("rule for {name}"))?;
    }
    Ok(())
}

fn action(name: &str, errno: Option<u32>, errno_name: Option<&str>) -> Result<ScmpAction> {
    let number = match (errno, errno_name) {
        (Some(number), _) => number as i32,
        (None, Some(name)) => errno_of(name)?,
        (None, None) => libc::EPERM,
    };
    Ok(match name {
        "SCMP_ACT_ALLOW" => ScmpAction::Allow,
        "SCMP_ACT_ERRNO" => ScmpAction::Errno(number),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => ScmpAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => ScmpAction::KillProcess,
        "SCMP_ACT_TRAP" => ScmpAction::Trap,
        "SCMP_ACT_TRACE" => ScmpAction::Trace(number as u16),
        "SCMP_ACT_LOG" => ScmpAction::Log,
        "SCMP_ACT_NOTIFY" => return Err(Error::unsupported("the seccomp action SCMP_ACT_NOTIFY")),
        _ => return Err(Error::usage(format!("{name:?} is not a seccomp action"))),
    })
}

/// The few errors that profiles name, by name.
fn errno_of(name: &str) -> Result<i32> {
    Ok(match name {
        "EPERM" => libc::EPERM,
        "ENOSYS" => libc::ENOSYS,
        "EINVAL" => libc::EINVAL,
        "EACCES" => libc::EACCES,
        "ENOENT" => libc::ENOENT,
        "EAFNOSUPPORT" => libc::EAFNOSUPPORT,
        "EOPNOTSUPP" => libc::EOPNOTSUPP,
        _ => {
            return Err(Error::unsupported(format_args!(
                "errno {name:?} of a seccomp profile"
            )));
        }
    })
}

fn compare(arg: &Arg) -> Result<ScmpArgCompare> {
    if arg.index > 5 {
        return Err(Error::usage(format!(
            "system calls have no argument {}",
            arg.index
        )));
    }
    let (op, value) = match arg.op.as_str() {
        "SCMP_CMP_NE" => (ScmpCompareOp::NotEqual, arg.value),
        "SCMP_CMP_LT" => (ScmpCompareOp::Less, arg.value),
        "SCMP_CMP_LE" => (ScmpCompareOp::LessOrEqual, arg.value),
        "SCMP_CMP_EQ" => (ScmpCompareOp::Equal, arg.value),
        "SCMP_CMP_GE" => (ScmpCompareOp::GreaterEqual, arg.value),
        "SCMP_CMP_GT" => (ScmpCompareOp::Greater, arg.value),
        // The spec has the mask first, then what must remain.
        "SCMP_CMP_MASKED_EQ" => (ScmpCompareOp::MaskedEqual(arg.value), arg.value_two),
        op => return Err(Error::usage(format!("{op:?} is not a seccomp operator"))),
    };
    Ok(ScmpArgCompare::new(arg.index, op, value))
}

fn flags(names: &[String]) -> Result<u32> {
    let mut flags = 0;
    for name in names {
        flags |= match name.as_str() {
            "SECCOMP_FILTER_FLAG_TSYNC" => libc::SECCOMP_FILTER_FLAG_TSYNC,
            "SECCOMP_FILTER_FLAG_LOG" => libc::SECCOMP_FILTER_FLAG_LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            _ => return Err(Error::unsupported(format_args!("seccomp flag {name:?}"))),
        } as u32;
    }
    Ok(flags)
}

fn export(context: &ScmpFilterContext) -> Result<Vec<u8>> {
    use std::io::{Read, Seek};
    let memory = rustix::fs::memfd_create("seccomp", rustix::fs::MemfdFlags::CLOEXEC)?;
    context.export_bpf(&memory).map_err(library)?;
    let mut file = std::fs::File::from(memory);
    let mut program = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut program)?;
    Ok(program)
}

fn library(error: libseccomp::error::SeccompError) -> Error {
    Error::other(format!("libseccomp: {error}"))
}

/// Go's name of this machine's architecture, which conditions use.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn kernel() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

fn is_kernel(wanted: &str) -> Result<bool> {
    let two = |text: &str| -> Option<(u32, u32)> {
        let mut parts = text.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    let wanted =
        two(wanted).ok_or_else(|| Error::usage(format!("{wanted:?} is not a kernel version")))?;
    Ok(two(&kernel()).is_some_and(|ours| ours >= wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;

    /// What the filter says to a call: classic BPF over `struct seccomp_data`, as
    /// far as libseccomp uses it.
    fn ask(filter: &Filter, arch: u32, number: u32, args: [u64; 6]) -> u32 {
        let mut data = [0; 64];
        data[..4].copy_from_slice(&number.to_ne_bytes());
        data[4..8].copy_from_slice(&arch.to_ne_bytes());
        for (at, arg) in args.iter().enumerate() {
            data[16 + at * 8..24 + at * 8].copy_from_slice(&arg.to_ne_bytes());
        }
        let (mut at, mut a) = (0, 0u32);
        loop {
            let code = &filter.program[at * 8..at * 8 + 8];
            let op = u16::from_ne_bytes([code[0], code[1]]);
            let (yes, no) = (usize::from(code[2]), usize::from(code[3]));
            let k = u32::from_ne_bytes(code[4..].try_into().unwrap());
            at += 1;
            let jump = |taken: bool| if taken { yes } else { no };
            match op {
                0x20 => a = u32::from_ne_bytes(data[k as usize..][..4].try_into().unwrap()),
                0x54 => a &= k,
                0x05 => at += k as usize,
                0x15 => at += jump(a == k),
                0x25 => at += jump(a > k),
                0x35 => at += jump(a >= k),
                0x06 => return k,
                _ => panic!("instruction {op:#x}"),
            }
        }
    }

    fn default_filter(bounding: CapSet) -> Filter {
        compile(DEFAULT, bounding).unwrap()
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_default_profile_decides_as_podmans() {
        const X86_64: u32 = 0xc000_003e;
        let filter = default_filter(CapSet::DEFAULT);
        let call = |number: i64, args: [u64; 6]| ask(&filter, X86_64, number as u32, args);
        let none = [0; 6];
        for (number, args, answer) in [
            (libc::SYS_read, none, ALLOW),
            (libc::SYS_execve, none, ALLOW),
            (libc::SYS_chroot, none, ALLOW),
            (libc::SYS_clone, none, ALLOW),
            // Allowed by Podman's profile, as user namespaces in containers are.
            (libc::SYS_clone, [0x1000_0000, 0, 0, 0, 0, 0], ALLOW),
            (libc::SYS_personality, [0; 6], ALLOW),
            (libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0], ALLOW),
            (
                libc::SYS_personality,
                [0x0040_0000, 0, 0, 0, 0, 0],
                ERRNO | 38,
            ),
            (libc::SYS_socket, [2, 1, 0, 0, 0, 0], ALLOW),
            // AF_NETLINK for audit.
            (libc::SYS_socket, [16, 3, 9, 0, 0, 0], ERRNO | 22),
            (libc::SYS_socket, [16, 3, 0, 0, 0, 0], ALLOW),
            (libc::SYS_bpf, none, ERRNO | 1),
            (libc::SYS_kexec_load, none, ERRNO | 1),
            (libc::SYS_init_module, none, ERRNO | 1),
            (libc::SYS_settimeofday, none, ERRNO | 1),
            (9999, none, ERRNO | 38),
        ] {
            assert_eq!(call(number, args), answer, "call {number} {args:x?}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn capabilities_open_what_they_stand_for() {
        const X86_64: u32 = 0xc000_003e;
        let none = [0; 6];
        let filter = default_filter(CapSet::ALL);
        for number in [libc::SYS_bpf, libc::SYS_settimeofday, libc::SYS_init_module] {
            assert_eq!(ask(&filter, X86_64, number as u32, none), ALLOW);
        }
    }

    #[test]
    fn a_filter_is_kept_and_made_again_when_damaged() {
        let cache =
            std::env::temp_dir().join(format!("coracle-seccomp-{}", crate::id::random_hex::<8>()));
        let get = || {
            filter(&cache, Profile::Default, CapSet::DEFAULT)
                .unwrap()
                .unwrap()
        };
        let made = get();
        let file = std::fs::read_dir(cache.join("seccomp"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        assert_eq!(get(), made);
        let good = std::fs::read(&file).unwrap();
        for bad in [&good[..good.len() - 8], &good[..20], b"", b"x"] {
            std::fs::write(&file, bad).unwrap();
            assert_eq!(get(), made);
            assert_eq!(std::fs::read(&file).unwrap(), good);
        }
        let mut flipped = good.clone();
        flipped[100] ^= 1;
        std::fs::write(&file, &flipped).unwrap();
        assert_eq!(get(), made);
        assert!(
            filter(&cache, Profile::Unconfined, CapSet::DEFAULT)
                .unwrap()
                .is_none()
        );
        std::fs::remove_dir_all(&cache).unwrap();
    }

    #[test]
    fn a_profile_that_cannot_be_is_an_error() {
        let missing = filter(
            Path::new("/nonexistent"),
            Profile::File(Path::new("/nonexistent/profile")),
            CapSet::DEFAULT,
        );
        assert_eq!(
            missing.unwrap_err().to_string(),
            "opening seccomp profile failed: open /nonexistent/profile: no such file or directory"
        );
        for (text, words) in [
            ("{", "decoding seccomp profile failed"),
            (
                r#"{"defaultAction":"SCMP_ACT_FOO"}"#,
                "not a seccomp action",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"}]}"#,
                "not supported by coracle yet",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{"index":7,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
                "no argument 7",
            ),
        ] {
            let error = compile(text, CapSet::DEFAULT).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_profile_of_dockers_kind_compiles() {
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],
            "flags":["SECCOMP_FILTER_FLAG_LOG"],"syscalls":[
            {"name":"mkdir","action":"SCMP_ACT_ERRNO","args":[]},
            {"names":["kill","nosuchcall"],"action":"SCMP_ACT_ERRNO","errno":"EACCES",
             "args":[{"index":1,"value":9,"op":"SCMP_CMP_EQ"},{"index":1,"value":15,"op":"SCMP_CMP_EQ"}]},
            {"names":["rmdir"],"action":"SCMP_ACT_ERRNO","includes":{"minKernel":"99.0"}},
            {"names":["unlink"],"action":"SCMP_ACT_ERRNO","includes":{"minKernel":"3.0"},"errnoRet":13}]}"#;
        let filter = compile(text, CapSet::DEFAULT).unwrap();
        let call = |number: i64, args: [u64; 6]| ask(&filter, 0xc000_003e, number as u32, args);
        assert_eq!(call(libc::SYS_mkdir, [0; 6]), ERRNO | 1);
        assert_eq!(call(libc::SYS_kill, [1, 9, 0, 0, 0, 0]), ERRNO | 13);
        assert_eq!(call(libc::SYS_kill, [1, 15, 0, 0, 0, 0]), ERRNO | 13);
        assert_eq!(call(libc::SYS_kill, [1, 1, 0, 0, 0, 0]), ALLOW);
        assert_eq!(call(libc::SYS_rmdir, [0; 6]), ALLOW);
        assert_eq!(call(libc::SYS_unlink, [0; 6]), ERRNO | 13);
        assert_eq!(filter.flags, 2);
    }
}
