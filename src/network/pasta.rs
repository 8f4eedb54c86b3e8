//! pasta(1): the container's way to the network, a process beside the monitor.
//!
//! It runs in the foreground, as our child that dies with us, and tells by its
//! pid file, which is a pipe to us, that it is ready: ports are bound, the
//! interface is set up, it serves. From the second to the third it needs as long again
//! for its own memory and sandbox. A container that publishes no ports does not wait for
//! that: what it sends meanwhile waits in the interface. The namespace is its standard input, since newer ones
//! close what else they inherit before they open what `--netns` names, and none
//! may look into /proc/PID/fd of a process that is not dumpable.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};

use super::netlink::{self, Families};
use super::port::{cannot_publish, check_free, runs};
use super::{Netns, PortMapping};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::process;
use crate::sys::{Process, SoleThread, signal};
use crate::userns;

/// Podman's addresses: no network of anybody's has these.
const DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 2));

const MAP_GUEST_ADDR: &str = "--map-guest-addr";
const TUN: &str = "/dev/net/tun";

/// What pasta is to do.
#[derive(Debug, Clone, Copy)]
pub struct PastaSettings<'a> {
    /// The user's own options ([`NetworkMode::pasta_options`](super::NetworkMode::pasta_options)).
    pub options: &'a [String],
    /// Host ports chosen.
    pub ports: &'a [PortMapping],
    /// Where it is remembered what this machine's pasta knows.
    pub cache: &'a Path,
}

/// What a container finds on its network: what its files are written from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Its own addresses, IPv4 first; none without a network of its own.
    pub addresses: Vec<IpAddr>,
    /// Name servers that pasta answers for.
    pub dns: Vec<IpAddr>,
    /// Where the host answers: `host.containers.internal`.
    pub host: Option<IpAddr>,
}

impl Attached {
    /// Without pasta: in the host's network, another one, or none.
    pub fn without_pasta() -> Self {
        Self {
            host: address_of_host(&[]),
            ..Self::default()
        }
    }
}

/// A pasta that runs; dropped, it is ended.
///
/// It needs some 15 ms to go, as the kernel takes its interface away in no hurry.
/// Dropping waits for that only where ports are published, which are free then;
/// else it is reaped when the next one starts, or by whoever inherits our children.
#[derive(Debug)]
pub struct Pasta {
    process: Process,
    is_published: bool,
    /// Where it says that it is ready, or why not. Kept, as it ends where nobody could
    /// read that; what it says later is lost when the pipe is full.
    words: OwnedFd,
    program: Program,
    command: Arguments,
    /// Whether it has served before, so that nothing but a taken port can go wrong.
    is_proven: bool,
    /// The families of which a default route in the namespace is waited for, and those
    /// that have one. Where none is waited for, its own word is.
    awaited: Families,
    routed: Families,
    ended: bool,
}

impl Pasta {
    /// Starts pasta for `netns` and does not wait for it. We must be root of the
    /// user namespace that owns `netns`, and in the host's network namespace.
    pub fn start(proof: SoleThread, netns: &Netns, settings: PastaSettings) -> Result<Self> {
        reap_those_gone();
        let program = Program::find()?;
        // Older ones go on without a port that is taken, and say nothing.
        check_free(settings.ports)?;
        let known = program.known(settings.cache);
        let guest = match known {
            Some(Known::Apart) => Guest::apart(),
            Some(Known::Mapped) | None => Guest::Mapped,
        };
        let command = arguments(settings.options, settings.ports, guest)?;
        let (process, words) = spawn(proof, netns, program.file(), &command.args)?;
        let is_plain = settings.ports.is_empty() && settings.options.is_empty();
        // While it begins.
        let awaited = match known.is_some() && is_plain {
            true => netlink::routed_families().unwrap_or_default(),
            false => Families::default(),
        };
        Ok(Self {
            process,
            is_published: !settings.ports.is_empty(),
            words,
            program,
            command,
            is_proven: known.is_some(),
            awaited,
            routed: Families::default(),
            ended: false,
        })
    }

    /// Waits until the container's network is as it will be.
    pub fn ready(
        &mut self,
        proof: SoleThread,
        netns: &Netns,
        settings: PastaSettings,
    ) -> Result<Attached> {
        match self.wait(netns)? {
            Said::Nothing => {}
            Said::Ready if self.is_proven || !self.command.is_mapped_by_us => {}
            Said::Ready => self.program.remember(settings.cache, Known::Mapped),
            Said::Why(code, text) => {
                // Known since 2024-08. An older one ends before it has touched anything.
                let unknown = text.contains(&format!("unrecognized option '{MAP_GUEST_ADDR}"));
                if !(unknown && self.command.is_mapped_by_us) {
                    return Err(explain(code, &text, settings.ports));
                }
                self.command = arguments(settings.options, settings.ports, Guest::apart())?;
                let (process, words) =
                    spawn(proof, netns, self.program.file(), &self.command.args)?;
                (self.process, self.words, self.ended) = (process, words, false);
                self.awaited = Families::default();
                if let Said::Why(code, text) = self.wait(netns)? {
                    return Err(explain(code, &text, settings.ports));
                }
                self.program.remember(settings.cache, Known::Apart);
            }
        }
        let addresses = netns
            .addresses()
            .tried(|| "read the addresses of the container")?;
        let is_reachable = |ip: &&IpAddr| addresses.iter().any(|own| own.is_ipv4() == ip.is_ipv4());
        let host = match self.command.host.iter().find(is_reachable) {
            Some(&host) => Some(host),
            None => address_of_host(&addresses),
        };
        let dns = self.command.dns.iter().filter(is_reachable).copied();
        Ok(Attached {
            dns: dns.collect(),
            host,
            addresses,
        })
    }

    fn is_routed(&self) -> bool {
        self.awaited != Families::default() && self.routed.contains(self.awaited)
    }

    /// Reads what it says until it is ready or has ended, or until `netns` has the routes
    /// that are waited for.
    fn wait(&mut self, netns: &Netns) -> Result<Said> {
        use rustix::event::{PollFd, PollFlags, poll};
        let tried = || "hear from pasta";
        let mut text = Vec::new();
        while !self.is_routed() {
            let mut fds = [
                PollFd::from_borrowed_fd(self.words.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(netns.routes(), PollFlags::IN),
            ];
            let fds = &mut fds[..1 + usize::from(self.awaited != Families::default())];
            retry_on_intr(|| poll(fds, None)).tried(tried)?;
            let speaks = !fds[0].revents().is_empty();
            // Where something was not heard, its own word is waited for.
            if netns.new_default_routes(&mut self.routed).is_err() {
                self.awaited = Families::default();
            }
            if speaks && let Some(said) = self.listen(&mut text).tried(tried)? {
                return Ok(said);
            }
        }
        Ok(Said::Nothing)
    }

    /// Adds to `text` what it says now; what that means, if it does.
    fn listen(&mut self, text: &mut Vec<u8>) -> io::Result<Option<Said>> {
        let mut buffer = [0; 4096];
        let length = match rustix::io::read(&self.words, &mut buffer[..]) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(None),
            result => result?,
        };
        if length == 0 {
            let code = self.process.reap()?;
            self.ended = true;
            let text = String::from_utf8_lossy(text).into_owned();
            return Ok(Some(Said::Why(code, text)));
        }
        text.extend(&buffer[..length]);
        Ok(says_ready(text, self.process.pid()).then_some(Said::Ready))
    }

    /// Its pid, for the record.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Lets it end, without waiting: early, so that it goes while we tidy up.
    pub fn kill(&self) {
        if !self.ended {
            let _ = self.process.signal(libc::SIGKILL);
        }
    }

    /// Ends it and waits until it is gone.
    pub fn stop(mut self) {
        self.is_published = true;
    }
}

/// What pasta said.
enum Said {
    /// That it is ready.
    Ready,
    /// Nothing yet, but the network is as it will be.
    Nothing,
    /// Why it ended, with its exit code.
    Why(i32, String),
}

impl Drop for Pasta {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.kill();
        if self.is_published {
            let _ = self.process.reap();
        } else if let Ok(mut leaving) = LEAVING.lock() {
            leaving.push(self.process.pid());
        }
    }
}

/// Children that were ended and not waited for.
static LEAVING: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// A container that is restarted again and again must not gather dead children.
fn reap_those_gone() {
    if let Ok(mut leaving) = LEAVING.lock() {
        leaving.retain(|&pid| {
            let pid = rustix::process::Pid::from_raw(pid);
            matches!(
                rustix::process::waitpid(pid, rustix::process::WaitOptions::NOHANG),
                Ok(None)
            )
        });
    }
}

/// Fails with what [`Pasta::start`] would fail with on this machine, before
/// anything is made.
pub fn can_start() -> Result<()> {
    Program::find()?;
    open_tun()
}

/// Where pasta is and the version it says it is of.
pub fn version() -> Result<(PathBuf, String)> {
    let program = Program::find()?;
    let said = std::process::Command::new(&program.path)
        .arg("--version")
        .output()
        .tried(|| format!("run {}", program.path.display()))?;
    let text = String::from_utf8_lossy(&said.stdout);
    let line = text.lines().next().unwrap_or_default();
    // Confined by AppArmor it may not write into our pipe.
    let version = match line.strip_prefix("pasta ").unwrap_or(line) {
        "" => "unknown version",
        version => version,
    };
    Ok((program.path, version.to_owned()))
}

/// Fails as pasta would if it cannot make its interface.
pub fn open_tun() -> Result<()> {
    match File::options().read(true).write(true).open(TUN) {
        Ok(_) => Ok(()),
        Err(error) => Err(no_tun(&error.to_string())),
    }
}

fn no_tun(why: &str) -> Error {
    let mend = if why.contains("ermission denied") || why.contains("not permitted") {
        "as root, `chmod 0666 /dev/net/tun`"
    } else {
        "as root, `modprobe tun`"
    };
    Error::new(
        Kind::CannotInvoke,
        format!("open {TUN}, which pasta needs to give the container a network: {why}"),
    )
    .hint(format!(
        "{mend}; or run with --network=host or --network=none"
    ))
}

/// The installed pasta.
#[derive(Debug)]
struct Program {
    path: PathBuf,
    /// What it becomes first thing on this processor.
    becomes: Option<PathBuf>,
    file: Option<Metadata>,
}

impl Program {
    fn find() -> Result<Self> {
        let path = userns::helper("pasta").ok_or_else(|| {
            Error::new(
                Kind::CommandNotFound,
                "could not find pasta, the network namespace can't be configured: exec: \"pasta\": executable file not found in $PATH",
            )
            .hint("as root, `apt install passt`; or run with --network=host or --network=none")
        })?;
        let file = path.metadata().ok();
        let becomes = Self::for_this_processor(&path);
        Ok(Self {
            path,
            becomes,
            file,
        })
    }

    /// The program beside it for processors with AVX2, which it looks for and becomes
    /// itself (passt's arch.c): two programs to load are one then.
    fn for_this_processor(path: &Path) -> Option<PathBuf> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            let mut beside = path.canonicalize().ok()?.into_os_string();
            beside.push(".avx2");
            return Some(PathBuf::from(beside)).filter(|it| it.is_file());
        }
        let _ = path;
        None
    }

    /// The file to run.
    fn file(&self) -> &Path {
        self.becomes.as_deref().unwrap_or(&self.path)
    }

    /// What is known of this very file, which has served before.
    fn known(&self, cache: &Path) -> Option<Known> {
        let mark = self.mark(cache)?;
        [Known::Mapped, Known::Apart]
            .into_iter()
            .find(|known| mark.with_extension(known.word()).exists())
    }

    fn remember(&self, cache: &Path, known: Known) {
        let Some(mark) = self.mark(cache) else { return };
        // Another command may do the same; what cannot be kept is found out again.
        let _ = std::fs::create_dir_all(cache);
        let _ = File::create(mark.with_extension(known.word()));
    }

    /// A file that is there with the word of what is known as its extension, named for
    /// the program's file as it is now.
    fn mark(&self, cache: &Path) -> Option<PathBuf> {
        let file = self.file.as_ref()?;
        Some(cache.join(format!(
            "pasta-{:x}-{:x}-{:x}",
            file.ino(),
            file.size(),
            file.mtime_nsec() as i128 + file.mtime() as i128 * 1_000_000_000
        )))
    }
}

/// What is known of a pasta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It knows `--map-guest-addr`.
    Mapped,
    /// It does not.
    Apart,
}

impl Known {
    fn word(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Apart => "apart",
        }
    }
}

fn spawn(
    proof: SoleThread,
    netns: &Netns,
    program: &Path,
    args: &[String],
) -> Result<(Process, OwnedFd)> {
    // Root's, as pasta will be: it opens the pipe anew.
    let pipe = process::with_file_ids(0, 0, || {
        use rustix::pipe::PipeFlags;
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
    });
    let (ours, theirs) = pipe.tried(|| "make a pipe")?;
    let args: Vec<OsString> = std::iter::once("pasta".into())
        .chain(args.iter().map(OsString::from))
        .collect();
    let ready = process::Program::in_our_environment(program.as_os_str(), &args)?;
    let parent = rustix::process::getpid();
    let here = process::processor();
    let become_pasta = || {
        // As the service it is: the kernel shares processors out between sessions
        // (sched(7), autogroup), and the monitor has work to do in its own.
        let _ = rustix::process::setsid();
        process::leave_processor(here);
        run(netns, &ready, &theirs, parent)
    };
    let (child, error) = process::spawn(proof, become_pasta)?;
    if let Some(error) = error {
        let words = format!("{}: {error}\n", program.display());
        let _ = rustix::io::write(&theirs, words.as_bytes());
    }
    Ok((child, ours))
}

/// Becomes pasta. Returns only on error.
fn run(
    netns: &Netns,
    program: &process::Program,
    words: &OwnedFd,
    parent: rustix::process::Pid,
) -> io::Error {
    // Only root keeps capabilities across execve, and it needs them to enter.
    if !rustix::process::geteuid().is_root()
        && let Err(error) = process::set_ids(0, 0)
    {
        return error;
    }
    process::die_with_parent(libc::SIGKILL);
    // It may have ended before that.
    if rustix::process::getppid() != Some(parent) {
        process::exit_now(1);
    }
    let placed = [(netns.as_fd(), 0), (words.as_fd(), 1), (words.as_fd(), 2)]
        .into_iter()
        .try_for_each(|(fd, number)| process::place_fd(fd, number));
    if let Err(error) = placed {
        return error;
    }
    process::close_from(3, true);
    signal::reset();
    program.exec()
}

/// Whether `text` holds the line with its pid, which it writes when all is done.
fn says_ready(text: &[u8], pid: i32) -> bool {
    let pid = pid.to_string();
    text.split_inclusive(|&byte| byte == b'\n')
        .any(|line| line.strip_suffix(b"\n") == Some(pid.as_bytes()))
}

/// How the container reaches the host.
#[derive(Debug, Clone, Copy)]
enum Guest {
    /// An address that means the host's.
    Mapped,
    /// pasta cannot map one: the container gets an address of its own instead of
    /// the host's, and so the host's address is the host.
    Apart(Ipv4Addr),
    /// It cannot: there is no IPv4 here, or no address that is free.
    Not,
}

impl Guest {
    fn apart() -> Self {
        let host = netlink::socket()
            .and_then(netlink::addresses)
            .unwrap_or_default();
        Self::apart_from(&host)
    }

    /// An address in a network of 256 that the host is not in.
    fn apart_from(host: &[IpAddr]) -> Self {
        let taken: Vec<[u8; 3]> = host
            .iter()
            .filter_map(|ip| match ip {
                IpAddr::V4(ip) => ip.octets().first_chunk().copied(),
                IpAddr::V6(_) => None,
            })
            .collect();
        if taken.is_empty() {
            return Self::Not;
        }
        [[10, 0, 2], [10, 88, 254], [192, 168, 254]]
            .into_iter()
            .find(|net| !taken.contains(net))
            .map_or(Self::Not, |[a, b, c]| {
                Self::Apart(Ipv4Addr::new(a, b, c, 100))
            })
    }
}

/// pasta's command line, and what it will mean inside.
#[derive(Debug)]
struct Arguments {
    args: Vec<String>,
    dns: Vec<IpAddr>,
    host: Vec<IpAddr>,
    /// Whether `--map-guest-addr` is ours and not the user's.
    is_mapped_by_us: bool,
}

/// What Podman gives pasta, in its order, and what makes it our child.
fn arguments(options: &[String], ports: &[PortMapping], guest: Guest) -> Result<Arguments> {
    if let Some(pid) = options
        .iter()
        .find(|option| *option == "-P" || option.starts_with("--pid"))
    {
        return Err(Error::unsupported(format_args!("--network=pasta:{pid}")));
    }
    let mut args = vec!["--config-net".to_owned()];
    // Podman's own word: pasta maps the gateway unless told not to.
    args.extend(options.iter().filter(|it| *it != "--map-gw").cloned());
    let has = |names: &[&str]| {
        options.iter().any(|option| {
            names.contains(&option.as_str())
                || names.iter().any(|name| {
                    let value = option.strip_prefix(name);
                    name.starts_with("--") && value.is_some_and(|value| value.starts_with('='))
                })
        })
    };
    let values = |name: &str| -> Vec<IpAddr> {
        options
            .windows(2)
            .filter(|two| two[0] == name)
            .map(|two| two[1].as_str())
            .chain(
                options
                    .iter()
                    .filter_map(|it| it.strip_prefix(name)?.strip_prefix('=')),
            )
            .filter_map(|value| value.parse().ok())
            .collect()
    };
    let mut published = (false, false);
    for (first, length) in runs(ports) {
        let flag = match first.protocol.as_str() {
            "tcp" => {
                published.0 = true;
                "-t"
            }
            "udp" => {
                published.1 = true;
                "-u"
            }
            other => {
                return Err(Error::new(
                    Kind::CannotInvoke,
                    format!("can't forward protocol: {other}"),
                ));
            }
        };
        let ip = match first.host_ip.as_str() {
            "" => String::new(),
            ip => format!("{ip}/"),
        };
        let (host, inside) = (first.host_port, first.container_port);
        args.push(flag.into());
        args.push(format!(
            "{ip}{host}-{}:{inside}-{}",
            host + (length - 1),
            inside + (length - 1)
        ));
    }
    let mut dns = values("--dns-forward");
    if !has(&["--dns-forward"]) {
        args.extend(["--dns-forward".into(), DNS.to_string()]);
        dns.push(DNS);
    }
    for (flag, names, is_published) in [
        ("-t", ["-t", "--tcp-ports"], published.0),
        ("-u", ["-u", "--udp-ports"], published.1),
        ("-T", ["-T", "--tcp-ns"], false),
        ("-U", ["-U", "--udp-ns"], false),
    ] {
        if !is_published && !has(&names) {
            args.extend([flag.into(), "none".into()]);
        }
    }
    if !has(&["--map-gw", "--no-map-gw"]) {
        args.push("--no-map-gw".into());
    }
    if !has(&["-d", "--debug", "--trace", "-q", "--quiet"]) {
        args.push("--quiet".into());
    }
    args.extend(
        [
            "--foreground",
            "--no-netns-quit",
            "--pid",
            "/proc/self/fd/1",
        ]
        .map(str::to_owned),
    );
    args.extend(["--netns", "/proc/self/fd/0"].map(str::to_owned));
    let mut host = values(MAP_GUEST_ADDR);
    let mut is_mapped_by_us = false;
    match guest {
        _ if has(&[MAP_GUEST_ADDR]) => {}
        Guest::Mapped => {
            args.extend([MAP_GUEST_ADDR.into(), HOST.to_string()]);
            host.push(HOST);
            is_mapped_by_us = true;
        }
        // Whoever gives options knows what address they want.
        Guest::Apart(ip) if options.is_empty() => {
            let [a, b, c, _] = ip.octets();
            let gateway = Ipv4Addr::new(a, b, c, 2);
            for (flag, value) in [
                ("-a", ip.to_string()),
                ("-n", "255.255.255.0".into()),
                ("-g", gateway.to_string()),
            ] {
                args.extend([flag.to_owned(), value]);
            }
        }
        Guest::Apart(_) | Guest::Not => {}
    }
    Ok(Arguments {
        args,
        dns,
        host,
        is_mapped_by_us,
    })
}

/// An address of this machine that is not one of `but`: IPv4 if there is one.
fn address_of_host(but: &[IpAddr]) -> Option<IpAddr> {
    let mut found = netlink::socket().and_then(netlink::addresses).ok()?;
    found.retain(|ip| !but.contains(ip));
    found
        .iter()
        .find(|ip| ip.is_ipv4())
        .or(found.first())
        .copied()
}

/// One line of what pasta said before it ended with `code`.
fn explain(code: i32, text: &str, ports: &[PortMapping]) -> Error {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        // Old ones complain so of a machine without a system logger.
        .filter(|line| !line.is_empty() && !line.starts_with("Failed to send "))
        .take_while(|line| !line.starts_with("Usage: "))
        .collect();
    if let Some(line) = lines.iter().find(|line| line.contains(TUN)) {
        let why = line.rsplit(": ").next().unwrap_or(line);
        return no_tun(why);
    }
    for (words, errno) in [
        ("Address already in use", libc::EADDRINUSE),
        ("Permission denied", libc::EACCES),
        ("Cannot assign requested address", libc::EADDRNOTAVAIL),
    ] {
        let Some(line) = lines.iter().find(|line| line.contains(words)) else {
            continue;
        };
        let is_named = |port: &&PortMapping| {
            let number = port.host_port.to_string();
            line.split(|c: char| !c.is_ascii_digit())
                .any(|part| part == number)
        };
        if let Some(port) = ports.iter().find(is_named) {
            return cannot_publish(port, io::Error::from_raw_os_error(errno));
        }
    }
    let said = match lines.is_empty() {
        true => "it said nothing".to_owned(),
        false => lines.join(": "),
    };
    Error::new(
        Kind::CannotInvoke,
        format!("pasta failed with exit code {code}: {said}"),
    )
}

#[cfg(test)]
mod tests {
    use crate::sys::process::Fork;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::{Duration, Instant};

    use super::super::{choose, parse_published};
    use super::*;
    use crate::settings::{Overrides, Settings};

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn ports(flags: &[&str]) -> Vec<PortMapping> {
        parse_published(&strings(flags)).unwrap()
    }

    fn line(options: &[&str], published: &[&str], guest: Guest) -> String {
        let args = arguments(&strings(options), &ports(published), guest).unwrap();
        args.args.join(" ")
    }

    const OURS: &str = "--foreground --no-netns-quit --pid /proc/self/fd/1 --netns /proc/self/fd/0";

    #[test]
    fn the_command_line_is_podmans() {
        assert_eq!(
            line(&[], &[], Guest::Mapped),
            format!(
                "--config-net --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --quiet {OURS} --map-guest-addr 169.254.1.2"
            )
        );
        assert_eq!(
            line(
                &[],
                &[
                    "8080:80",
                    "8081:81/udp",
                    "127.0.0.1:9000-9002:90-92",
                    "[::1]:7:7"
                ],
                Guest::Mapped
            ),
            format!(
                "--config-net -t 8080-8080:80-80 -u 8081-8081:81-81 -t 127.0.0.1/9000-9002:90-92 -t ::1/7-7:7-7 --dns-forward 169.254.1.1 -T none -U none --no-map-gw --quiet {OURS} --map-guest-addr 169.254.1.2"
            )
        );
        assert_eq!(
            line(
                &["--map-gw", "-T", "80", "--udp-ports=5"],
                &[],
                Guest::Mapped
            ),
            format!(
                "--config-net -T 80 --udp-ports=5 --dns-forward 169.254.1.1 -t none -U none --quiet {OURS} --map-guest-addr 169.254.1.2"
            )
        );
        assert_eq!(
            line(&[], &[], Guest::Apart(Ipv4Addr::new(10, 0, 2, 100))),
            format!(
                "--config-net --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --quiet {OURS} -a 10.0.2.100 -n 255.255.255.0 -g 10.0.2.2"
            )
        );
    }

    #[test]
    fn the_users_addresses_are_theirs() {
        let options = strings(&["--map-guest-addr", "10.9.9.9", "--dns-forward=192.0.2.77"]);
        let args = arguments(&options, &[], Guest::Mapped).unwrap();
        assert_eq!(args.host, ["10.9.9.9".parse::<IpAddr>().unwrap()]);
        assert_eq!(args.dns, ["192.0.2.77".parse::<IpAddr>().unwrap()]);
        assert!(!args.is_mapped_by_us);
        let error = arguments(&strings(&["--pid", "x"]), &[], Guest::Mapped).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--network=pasta:--pid is not supported by coracle yet"
        );
    }

    #[test]
    fn the_guest_is_in_no_network_of_the_hosts() {
        let apart = |host: &[&str]| {
            let host: Vec<IpAddr> = host.iter().map(|ip| ip.parse().unwrap()).collect();
            match Guest::apart_from(&host) {
                Guest::Apart(ip) => ip.to_string(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(apart(&["192.0.2.2", "fd00::2"]), "10.0.2.100");
        assert_eq!(apart(&["10.0.2.15"]), "10.88.254.100");
        assert_eq!(apart(&["fd00::2"]), "Not");
        assert_eq!(apart(&[]), "Not");
    }

    #[test]
    fn what_pasta_says_becomes_one_line() {
        let published = ports(&["8080:80", "81:81/udp"]);
        for (text, words, code) in [
            (
                "Listen failed for HOST TCP port */8080: Address already in use\nCouldn't listen on requested ports\n",
                "publish 0.0.0.0:8080: address already in use",
                126,
            ),
            (
                "Failed to send 70 bytes to syslog\nFailed to bind port 8080 (Address already in use) for option '-t 8080-8080:80-80', exiting\n",
                "publish 0.0.0.0:8080: address already in use",
                126,
            ),
            (
                "Listen failed for HOST UDP port */81: Permission denied\n",
                "publish 0.0.0.0:81/udp: permission denied",
                126,
            ),
            (
                "Failed to open() /dev/net/tun: Permission denied\nFailed to set up tap device in namespace\n",
                "open /dev/net/tun, which pasta needs to give the container a network: Permission denied",
                126,
            ),
            (
                "pasta: unrecognized option '--bogus'\nUsage: pasta [OPTION]...\n\n  -d, --debug\n",
                "pasta failed with exit code 1: pasta: unrecognized option '--bogus'",
                126,
            ),
            ("", "pasta failed with exit code 1: it said nothing", 126),
        ] {
            let error = explain(1, text, &published);
            assert_eq!(error.to_string(), words);
            assert_eq!(error.exit_code(), code);
        }
    }

    #[test]
    fn a_pid_alone_on_a_line_is_readiness() {
        assert!(says_ready(b"a warning\n42\n", 42));
        assert!(!says_ready(b"42", 42));
        assert!(!says_ready(b"142\n", 42));
        assert!(!says_ready(b"42 things\n", 42));
    }

    #[test]
    fn what_pasta_knows_is_remembered_of_this_file() {
        let cache = std::env::temp_dir().join(crate::id::random_hex::<8>());
        let mut program = Program {
            path: "/proc/self/exe".into(),
            becomes: None,
            file: Path::new("/proc/self/exe").metadata().ok(),
        };
        assert_eq!(program.known(&cache), None);
        program.remember(&cache, Known::Apart);
        assert_eq!(program.known(&cache), Some(Known::Apart));
        program.file = Path::new("/").metadata().ok();
        assert_eq!(program.known(&cache), None);
        std::fs::remove_dir_all(&cache).unwrap();
    }

    /// Whether pasta runs here, said aloud if not.
    #[allow(clippy::print_stderr)]
    fn needs_pasta() -> bool {
        let Err(error) = can_start() else {
            return true;
        };
        let must = std::env::var_os("NEEDS").is_some_and(|needs| needs == "all");
        assert!(!must, "{error}");
        eprintln!("skipped: {error}");
        false
    }

    /// Does `work` as root of a user namespace, as the monitor is: the caller
    /// stands at `uid` and `gid` in it.
    fn as_monitor(proof: SoleThread, uid: u32, work: impl FnOnce() -> Result<()>) {
        let settings = Settings::read(&Overrides::default()).unwrap();
        let (default, _) = userns::default_map(&userns::Machine::of(&settings));
        let map = match uid {
            0 => default,
            uid => userns::IdMap::with_caller_at(&default, uid, uid).unwrap(),
        };
        userns::in_child(proof, &map, work).unwrap();
    }

    /// A folder of this test alone, gone with it.
    struct Cache(PathBuf);

    impl Cache {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("coracle-{}", crate::id::random_hex::<8>())))
        }
    }

    impl Drop for Cache {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Does `work` in a child that lives in `netns`, as a container would.
    fn in_netns(proof: SoleThread, netns: &Netns, work: impl FnOnce()) -> Process {
        match process::fork(proof).unwrap() {
            Fork::Parent(child) => child,
            Fork::Child => {
                process::die_with_parent(libc::SIGKILL);
                process::join_namespace(proof, netns.as_fd(), libc::CLONE_NEWNET).unwrap();
                work();
                process::exit_now(0)
            }
        }
    }

    fn serve_once(listener: &TcpListener, words: &[u8]) {
        let (mut peer, _) = listener.accept().unwrap();
        let mut heard = [0; 4];
        peer.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"ping");
        peer.write_all(words).unwrap();
    }

    fn ask(address: (&str, u16)) -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"ping")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn is_there(pid: i32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    fn reached_through_pasta(proof: SoleThread) -> Result<()> {
        let cache = Cache::new();
        // Twice: the first finds out what this pasta knows, the second knows.
        for _ in 0..2 {
            let mut published = ports(&["80", "127.0.0.1::81", "82/udp"]);
            let reserved = choose(&mut published)?;
            let number = |inside: u16| {
                let found = published.iter().find(|port| port.container_port == inside);
                found.unwrap().host_port
            };
            let settings = PastaSettings {
                options: &[],
                ports: &published,
                cache: &cache.0,
            };
            let netns = Netns::make(proof, None)?;
            assert_eq!(netns.addresses()?, [] as [IpAddr; 0]);
            let mut pasta = Pasta::start(proof, &netns, settings)?;
            let attached = pasta.ready(proof, &netns, settings)?;
            assert_eq!(attached.dns, [DNS]);
            assert!(!attached.addresses.is_empty(), "{attached:?}");
            drop(reserved);
            let host = attached.host.expect("the host has an address");
            let service = TcpListener::bind("0.0.0.0:0")?;
            let service_port = service.local_addr()?.port();
            let (ours, theirs) = crate::sys::socket::pair()?;
            let guest = in_netns(proof, &netns, || {
                let listeners = [80, 81].map(|port| TcpListener::bind(("0.0.0.0", port)).unwrap());
                let datagrams = UdpSocket::bind("0.0.0.0:82").unwrap();
                crate::sys::socket::send(theirs.as_fd(), b"up", &[]).unwrap();
                for listener in &listeners {
                    serve_once(listener, b"pong");
                }
                let mut heard = [0; 4];
                let (_, peer) = datagrams.recv_from(&mut heard).unwrap();
                datagrams.send_to(&heard, peer).unwrap();
                assert_eq!(ask((&host.to_string(), service_port)).unwrap(), "host");
            });
            assert_eq!(crate::sys::socket::receive(&ours)?.0, b"up");
            assert_eq!(ask(("127.0.0.1", number(80)))?, "pong");
            assert_eq!(ask(("127.0.0.1", number(81)))?, "pong");
            // Debian 12's sends answers to datagrams from 127.0.0.1 into its stdin.
            let to = match host == HOST {
                true => "127.0.0.1".to_owned(),
                false => host.to_string(),
            };
            let datagram = UdpSocket::bind("0.0.0.0:0")?;
            datagram.set_read_timeout(Some(Duration::from_secs(1)))?;
            // A datagram may get lost: its sender sends it again.
            let mut heard = [0; 4];
            let answered = (0..15).find_map(|_| {
                let sent = datagram.send_to(b"ping", (to.as_str(), number(82)));
                sent.and_then(|_| datagram.recv_from(&mut heard)).ok()
            });
            assert!(answered.is_some(), "no answer from {to}");
            assert_eq!(&heard, b"ping");
            serve_once(&service, b"host");
            assert_eq!(guest.reap()?, 0);
            let pid = pasta.pid();
            assert!(is_there(pid));
            pasta.stop();
            assert!(!is_there(pid));
            check_free(&published)?;
        }
        Ok(())
    }

    fn reaches_the_host_at_once(proof: SoleThread) -> Result<()> {
        let cache = Cache::new();
        let settings = PastaSettings {
            options: &[],
            ports: &[],
            cache: &cache.0,
        };
        let mut served = None;
        // The first is waited for; the others have served before.
        for round in 0..5 {
            let netns = Netns::make(proof, None)?;
            let mut pasta = Pasta::start(proof, &netns, settings)?;
            assert_eq!(pasta.is_proven, round > 0);
            let attached = pasta.ready(proof, &netns, settings)?;
            let host = attached.host.expect("the host has an address");
            let served = served.get_or_insert_with(|| attached.clone());
            assert_eq!(attached.addresses, served.addresses);
            let service = TcpListener::bind("0.0.0.0:0")?;
            let port = service.local_addr()?.port();
            let guest = in_netns(proof, &netns, || {
                assert_eq!(ask((&host.to_string(), port)).unwrap(), "host");
            });
            serve_once(&service, b"host");
            assert_eq!(guest.reap()?, 0);
        }
        Ok(())
    }

    #[test]
    fn a_container_without_ports_does_not_wait_until_pasta_serves() {
        let name =
            "network::pasta::tests::a_container_without_ports_does_not_wait_until_pasta_serves";
        if needs_pasta()
            && let Some(proof) = process::alone(name)
        {
            as_monitor(proof, 0, || reaches_the_host_at_once(proof));
        }
    }

    #[test]
    fn a_container_is_reached_through_pasta_and_reaches_the_host() {
        let name =
            "network::pasta::tests::a_container_is_reached_through_pasta_and_reaches_the_host";
        if needs_pasta()
            && let Some(proof) = process::alone(name)
        {
            as_monitor(proof, 0, || reached_through_pasta(proof));
        }
    }

    #[test]
    fn pasta_serves_under_a_map_that_moves_the_caller() {
        let name = "network::pasta::tests::pasta_serves_under_a_map_that_moves_the_caller";
        if needs_pasta()
            && let Some(proof) = process::alone(name)
        {
            let settings = Settings::read(&Overrides::default()).unwrap();
            if !userns::default_map(&userns::Machine::of(&settings))
                .0
                .is_single()
            {
                as_monitor(proof, 1000, || reached_through_pasta(proof));
            }
        }
    }

    #[test]
    fn a_taken_port_is_one_clear_error_and_nothing_stays() {
        let name = "network::pasta::tests::a_taken_port_is_one_clear_error_and_nothing_stays";
        if needs_pasta()
            && let Some(proof) = process::alone(name)
        {
            as_monitor(proof, 0, || {
                let taken = TcpListener::bind("0.0.0.0:0")?;
                let number = taken.local_addr()?.port();
                let published = ports(&[&format!("{number}:80")]);
                let cache = Cache::new();
                let settings = PastaSettings {
                    options: &[],
                    ports: &published,
                    cache: &cache.0,
                };
                let netns = Netns::make(proof, None)?;
                let error = Pasta::start(proof, &netns, settings).unwrap_err();
                assert_eq!(
                    error.to_string(),
                    format!("publish 0.0.0.0:{number}: address already in use")
                );
                Ok(())
            });
        }
    }

    #[test]
    fn one_life_after_another_leaves_one_dead_child_at_most() {
        let name = "network::pasta::tests::one_life_after_another_leaves_one_dead_child_at_most";
        if needs_pasta()
            && let Some(proof) = process::alone(name)
        {
            as_monitor(proof, 0, || {
                let cache = Cache::new();
                let settings = PastaSettings {
                    options: &[],
                    ports: &[],
                    cache: &cache.0,
                };
                for _ in 0..3 {
                    let netns = Netns::make(proof, None)?;
                    let mut pasta = Pasta::start(proof, &netns, settings)?;
                    pasta.ready(proof, &netns, settings)?;
                    let gone = Process::open(pasta.pid())?;
                    drop(pasta);
                    assert!(gone.wait_ended(Some(Duration::from_secs(10)))?);
                }
                assert_eq!(LEAVING.lock().unwrap().len(), 1);
                reap_those_gone();
                assert!(LEAVING.lock().unwrap().is_empty());
                Ok(())
            });
        }
    }

    #[test]
    fn what_the_user_tells_pasta_wrongly_is_said() {
        let name = "network::pasta::tests::what_the_user_tells_pasta_wrongly_is_said";
        if needs_pasta()
            && let Some(proof) = process::alone(name)
        {
            as_monitor(proof, 0, || {
                let options = strings(&["--bogus"]);
                let cache = Cache::new();
                let settings = PastaSettings {
                    options: &options,
                    ports: &[],
                    cache: &cache.0,
                };
                let netns = Netns::make(proof, None)?;
                let mut pasta = Pasta::start(proof, &netns, settings)?;
                let error = pasta.ready(proof, &netns, settings).unwrap_err();
                let words = error.to_string();
                assert!(
                    words.starts_with("pasta failed with exit code 1: ")
                        && words.ends_with("unrecognized option '--bogus'"),
                    "{words}"
                );
                Ok(())
            });
        }
    }

    #[test]
    fn pasta_dies_with_who_started_it() {
        let name = "network::pasta::tests::pasta_dies_with_who_started_it";
        if needs_pasta()
            && let Some(proof) = process::alone(name)
        {
            as_monitor(proof, 0, || {
                let cache = Cache::new();
                let settings = PastaSettings {
                    options: &[],
                    ports: &[],
                    cache: &cache.0,
                };
                let (ours, theirs) = crate::sys::socket::pair()?;
                let monitor = match process::fork(proof)? {
                    Fork::Parent(monitor) => monitor,
                    Fork::Child => {
                        let netns = Netns::make(proof, None).unwrap();
                        let mut pasta = Pasta::start(proof, &netns, settings).unwrap();
                        pasta.ready(proof, &netns, settings).unwrap();
                        let pid = pasta.pid().to_string();
                        crate::sys::socket::send(theirs.as_fd(), pid.as_bytes(), &[]).unwrap();
                        // Until it is killed.
                        let _ = crate::sys::socket::receive(&theirs);
                        process::exit_now(0)
                    }
                };
                let (pid, _) = crate::sys::socket::receive(&ours)?;
                let pasta = Process::open(String::from_utf8_lossy(&pid).parse().unwrap())?;
                assert!(!pasta.wait_ended(Some(Duration::ZERO))?);
                monitor.signal(libc::SIGKILL)?;
                monitor.reap()?;
                assert!(pasta.wait_ended(Some(Duration::from_secs(10)))?);
                Ok(())
            });
        }
    }

    /// What each step costs: `cargo test --lib pasta_costs -- --ignored --nocapture`.
    #[test]
    #[ignore = "measures"]
    #[allow(clippy::print_stderr)]
    fn pasta_costs() {
        let proof = SoleThread::take().unwrap_or_else(|_| {
            // Run alone and for its figures only.
            process::alone("x").expect("CORACLE_TEST_ALONE is set")
        });
        as_monitor(proof, 0, || {
            let cache = Cache::new();
            for _ in 0..8 {
                let published = ports(&["39123:80"]);
                let settings = PastaSettings {
                    options: &[],
                    ports: &published,
                    cache: &cache.0,
                };
                let begin = Instant::now();
                let netns = Netns::make(proof, None)?;
                let made = begin.elapsed();
                let mut pasta = Pasta::start(proof, &netns, settings)?;
                let started = begin.elapsed();
                pasta.ready(proof, &netns, settings)?;
                let ready = begin.elapsed();
                netns.addresses()?;
                let asked = begin.elapsed();
                pasta.kill();
                let killed = begin.elapsed();
                pasta.stop();
                eprintln!(
                    "netns {made:?} start {:?} ready {:?} addresses {:?} kill {:?} reap {:?}",
                    started - made,
                    ready - started,
                    asked - ready,
                    killed - asked,
                    begin.elapsed() - killed
                );
            }
            Ok(())
        });
    }
}
