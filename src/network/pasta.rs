//! pasta(1): the container's way to the network, a process beside the monitor.
//!
//! It runs in the foreground, as our child that dies with us, and tells by its
//! pid file, which is a pipe to us, that it is ready: ports are bound, the
//! interface is set up. The namespace is its standard input, since newer ones
//! close what else they inherit before they open what `--netns` names, and none
//! may look into /proc/PID/fd of a process that is not dumpable.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::port::{cannot_publish, runs};
use super::{Netns, PortMapping, netlink};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::process::{self, Fork};
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
    /// Where it is remembered what this machine's pasta does not know.
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
#[derive(Debug)]
pub struct Pasta {
    process: Process,
    /// Where it says that it is ready, or why not, until it has.
    words: Option<OwnedFd>,
    program: Program,
    command: Arguments,
    ended: bool,
}

impl Pasta {
    /// Starts pasta for `netns` and does not wait for it. We must be root of the
    /// user namespace that owns `netns`, and in the host's network namespace.
    pub fn start(proof: SoleThread, netns: &Netns, settings: PastaSettings) -> Result<Self> {
        let program = Program::find()?;
        let guest = match program.lacks_map_guest_addr(settings.cache) {
            true => Guest::apart(),
            false => Guest::Mapped,
        };
        let command = arguments(settings.options, settings.ports, guest)?;
        let (process, words) = spawn(proof, netns, &program.path, &command.args)?;
        Ok(Self {
            process,
            words: Some(words),
            program,
            command,
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
        if let Err((code, text)) = self.wait()? {
            // Known since 2024-08. An older one ends before it has touched anything.
            let unknown = text.contains(&format!("unrecognized option '{MAP_GUEST_ADDR}"));
            if !(unknown && self.command.is_mapped_by_us) {
                return Err(explain(code, &text, settings.ports));
            }
            self.program.remember_lack(settings.cache);
            self.command = arguments(settings.options, settings.ports, Guest::apart())?;
            let (process, words) = spawn(proof, netns, &self.program.path, &self.command.args)?;
            (self.process, self.words, self.ended) = (process, Some(words), false);
            if let Err((code, text)) = self.wait()? {
                return Err(explain(code, &text, settings.ports));
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

    /// Reads what it says until it is ready, or has ended: then its exit code and words.
    fn wait(&mut self) -> Result<Result<(), (i32, String)>> {
        let Some(words) = self.words.take() else {
            return Ok(Ok(()));
        };
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let length = match rustix::io::read(&words, &mut buffer[..]) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result.tried(|| "hear from pasta")?,
            };
            if length == 0 {
                let code = self.process.reap().tried(|| "wait for pasta")?;
                self.ended = true;
                return Ok(Err((code, String::from_utf8_lossy(&text).into_owned())));
            }
            text.extend(&buffer[..length]);
            if says_ready(&text, self.process.pid()) {
                // What it may say later is nobody's: it ignores SIGPIPE.
                return Ok(Ok(()));
            }
        }
    }

    /// Its pid, for the record.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Lets it end, without waiting. It has no state to put away.
    pub fn kill(&self) {
        if !self.ended {
            let _ = self.process.signal(libc::SIGKILL);
        }
    }

    /// Ends it: then the published ports are free.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if !self.ended {
            self.kill();
            let _ = self.process.reap();
            self.ended = true;
        }
    }
}

impl Drop for Pasta {
    fn drop(&mut self) {
        self.end();
    }
}

/// Fails with what [`Pasta::start`] would fail with on this machine, before
/// anything is made.
pub fn can_start() -> Result<()> {
    Program::find()?;
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
        Ok(Self { path, file })
    }

    /// Whether this very file was seen not to know `--map-guest-addr`.
    fn lacks_map_guest_addr(&self, cache: &Path) -> bool {
        self.mark(cache).is_some_and(|mark| mark.exists())
    }

    fn remember_lack(&self, cache: &Path) {
        let Some(mark) = self.mark(cache) else { return };
        // Another command may do the same; what cannot be kept is found out again.
        let _ = std::fs::create_dir_all(cache);
        let _ = File::create(mark);
    }

    /// A file whose being there says it, named for the program's file as it is now.
    fn mark(&self, cache: &Path) -> Option<PathBuf> {
        let file = self.file.as_ref()?;
        Some(cache.join(format!(
            "pasta-without-map-guest-addr-{:x}-{:x}-{:x}",
            file.ino(),
            file.size(),
            file.mtime_nsec() as i128 + file.mtime() as i128 * 1_000_000_000
        )))
    }
}

fn spawn(
    proof: SoleThread,
    netns: &Netns,
    program: &Path,
    args: &[String],
) -> Result<(Process, OwnedFd)> {
    let (ours, theirs) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).tried(|| "make a pipe")?;
    let parent = rustix::process::getpid();
    match process::fork(proof)? {
        Fork::Parent(child) => Ok((child, ours)),
        Fork::Child => {
            let error = run(netns, program, args, &theirs, parent);
            let words = format!("{}: {error}\n", program.display());
            let _ = rustix::io::write(&theirs, words.as_bytes());
            process::exit_now(127)
        }
    }
}

/// Becomes pasta. Returns only on error.
fn run(
    netns: &Netns,
    program: &Path,
    args: &[String],
    words: &OwnedFd,
    parent: rustix::process::Pid,
) -> io::Error {
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
    let args: Vec<OsString> = std::iter::once("pasta".into())
        .chain(args.iter().map(OsString::from))
        .collect();
    let env: Vec<OsString> = std::env::vars_os()
        .map(|(key, value)| {
            let mut pair = key;
            pair.push("=");
            pair.push(value);
            pair
        })
        .collect();
    process::exec(program.as_os_str(), &args, &env)
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
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::{Duration, Instant};

    use super::super::{choose, parse_published};
    use super::*;
    use crate::settings::{Overrides, Settings};
    use crate::sys::process::UnshareFlags;

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
                "publish 0.0.0.0:8080: Address already in use (os error 98)",
                126,
            ),
            (
                "Failed to send 70 bytes to syslog\nFailed to bind port 8080 (Address already in use) for option '-t 8080-8080:80-80', exiting\n",
                "publish 0.0.0.0:8080: Address already in use (os error 98)",
                126,
            ),
            (
                "Listen failed for HOST UDP port */81: Permission denied\n",
                "publish 0.0.0.0:81/udp: Permission denied (os error 13)",
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
    fn what_pasta_lacks_is_remembered_of_this_file() {
        let cache = std::env::temp_dir().join(crate::id::random_hex::<8>());
        let mut program = Program {
            path: "/proc/self/exe".into(),
            file: Path::new("/proc/self/exe").metadata().ok(),
        };
        assert!(!program.lacks_map_guest_addr(&cache));
        program.remember_lack(&cache);
        assert!(program.lacks_map_guest_addr(&cache));
        program.file = Path::new("/").metadata().ok();
        assert!(!program.lacks_map_guest_addr(&cache));
        std::fs::remove_dir_all(&cache).unwrap();
    }

    /// Runs the test `name` again, alone in a process, as namespaces want one
    /// thread, and gives false; or true in that process.
    #[allow(clippy::print_stderr)]
    fn is_alone(name: &str) -> bool {
        const ALONE: &str = "CORACLE_TEST_ALONE";
        if std::env::var_os(ALONE).is_some() {
            return true;
        }
        if let Err(error) = can_start() {
            assert!(
                std::env::var_os("NEEDS").is_none_or(|needs| needs != "all"),
                "{error}"
            );
            eprintln!("skipped {name}: {error}");
            return false;
        }
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                &format!("network::pasta::tests::{name}"),
                "--exact",
                "--nocapture",
            ])
            .arg("--test-threads=1")
            .env(ALONE, "1")
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        eprintln!("{text}");
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
        false
    }

    #[test]
    fn threads() {
        if is_alone("threads") {
            let _ = SoleThread::take().unwrap();
        }
    }
}
