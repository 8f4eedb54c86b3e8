//! Entering a user namespace.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Serialize, de::DeserializeOwned};

use super::{IdMap, IdRange, Machine, helper};
use crate::error::{Context, Error, Result};
use crate::sys::process::{self, Fork, Holder, Program, UnshareFlags};
use crate::sys::{Process, SoleThread, signal, socket};

/// Leaves for a new user namespace, whose map another process has yet to write.
pub fn unshare_user(proof: SoleThread) -> Result<()> {
    process::unshare(proof, UnshareFlags::NEWUSER)
        .map_err(|error| refused(error, "make a user namespace"))
}

/// Leaves for a mount namespace of the user namespace that we are root of. Mounts
/// made here are not seen outside; those made there still arrive here.
pub fn unshare_mounts(proof: SoleThread) -> Result<()> {
    process::unshare(proof, UnshareFlags::NEWNS)
        .map_err(|error| refused(error, "make a mount namespace"))?;
    crate::sys::mount::make_slave().tried(|| "make mounts slaves")
}

/// What the kernel refused, with what stands in the way and its mend.
fn refused(error: io::Error, tried: &str) -> Error {
    let errno = error.raw_os_error();
    let failed = Error::from(error).tried(tried);
    let obstacle = match errno {
        // AppArmor lets a user namespace be made, but nothing be done in it.
        Some(libc::EPERM | libc::EACCES | libc::ENOSPC) => Machine::here().forbids(),
        _ => None,
    };
    match (obstacle, errno) {
        (Some(obstacle), _) => obstacle.tried(failed),
        (None, Some(libc::ENOSPC)) => {
            failed.hint("the limit is reached: as root, `sysctl user.max_user_namespaces=28633`")
        }
        (None, _) => failed,
    }
}

/// Writes the map of the user namespace that the process `pid` has just made:
/// by newuidmap and newgidmap, both at once, or by hand where the caller's own
/// id is all there is.
pub fn write_map(proof: SoleThread, pid: i32, map: &IdMap) -> Result<()> {
    begin_writing(proof, pid, map)?.finish()
}

/// A user namespace whose map is being written while we do something else. Dropped, it is
/// gone, unless somebody has joined it.
pub struct Begun {
    // Before the holder goes: its pid must not come to mean another to who writes.
    writing: Writing,
    holder: Holder,
    map: IdMap,
}

impl Begun {
    pub fn new(proof: SoleThread, map: &IdMap) -> Result<Self> {
        let holder = Holder::in_user_namespace(proof)?;
        Ok(Self {
            writing: begin_writing(proof, holder.pid(), map)?,
            map: map.clone(),
            holder,
        })
    }

    pub fn map(&self) -> &IdMap {
        &self.map
    }

    /// The namespace, to be joined by a child of ours: now, though it has no ids yet.
    pub fn open(&self) -> Result<OwnedFd> {
        let path = format!("/proc/{}/ns/user", self.holder.pid());
        let namespace = File::open(&path).tried(|| format!("open {path}"))?;
        Ok(namespace.into())
    }

    /// Waits until the map is written.
    pub fn finish(self) -> Result<()> {
        self.writing.finish()
    }
}

/// The programs that write the map of the namespace of the process `pid`.
struct Writing {
    pid: i32,
    writers: Vec<Writer>,
}

impl Writing {
    fn finish(self) -> Result<()> {
        for writer in self.writers {
            let name = writer.name;
            if let Some(said) = writer.finish()? {
                return Err(Error::other(said)
                    .tried(format_args!("{name} {}", self.pid))
                    .hint(why_not_mapped()));
            }
        }
        Ok(())
    }
}

fn begin_writing(proof: SoleThread, pid: i32, map: &IdMap) -> Result<Writing> {
    let mut writers = Vec::new();
    let own = IdMap::single(
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let outside = |ranges: &[IdRange]| ranges.iter().map(|it| (it.outside, it.count)).collect();
    let outsides = |map: &IdMap| -> (Vec<_>, Vec<_>) { (outside(&map.uids), outside(&map.gids)) };
    if outsides(map) == outsides(&own) {
        let write = |file: &str, text: String| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::write(&path, text).tried(|| format!("write {path}"))
        };
        write("setgroups", "deny".into())?;
        write("uid_map", lines(&map.uids))?;
        write("gid_map", lines(&map.gids))?;
    } else {
        for (name, ranges) in [("newuidmap", &map.uids), ("newgidmap", &map.gids)] {
            writers.push(Writer::start(proof, name, pid, ranges)?);
        }
    }
    Ok(Writing { pid, writers })
}

/// Why newuidmap and newgidmap write no map that is of the caller's ids.
fn why_not_mapped() -> String {
    let fault = Machine::here().faults().into_iter().find(|it| it.fatal);
    match fault.as_ref().map(|it| (&it.error, it.error.hint_line())) {
        Some((error, Some(mend))) => format!("{error}: {mend}"),
        _ => "/etc/subuid and /etc/subgid must give you the ids: `coracle doctor` looks".to_owned(),
    }
}

fn lines(ranges: &[IdRange]) -> String {
    ranges
        .iter()
        .map(|r| format!("{} {} {}\n", r.inside, r.outside, r.count))
        .collect()
}

/// A program that writes a map, at work.
struct Writer {
    name: &'static str,
    process: Process,
    /// What it says.
    words: File,
    ended: bool,
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.process.reap();
        }
    }
}

impl Writer {
    /// Starts the program `name` for the process `pid`, beside us on another processor.
    fn start(proof: SoleThread, name: &'static str, pid: i32, ranges: &[IdRange]) -> Result<Self> {
        let tried = || format!("run {name}");
        let path = helper(name).unwrap_or_else(|| name.into());
        let ids = ranges
            .iter()
            .flat_map(|it| [it.inside, it.outside, it.count]);
        let mut args = vec![OsString::from(name), pid.to_string().into()];
        args.extend(ids.map(|id| OsString::from(id.to_string())));
        let program = Program::in_our_environment(path.as_os_str(), &args).tried(tried)?;
        let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (ours, theirs) = pipe.tried(|| "make a pipe")?;
        let here = process::processor();
        let (process, error) = process::spawn(proof, || {
            process::leave_processor(here);
            for number in [1, 2] {
                if let Err(error) = process::place_fd(theirs.as_fd(), number) {
                    return error;
                }
            }
            signal::reset();
            program.exec()
        })?;
        let writer = Self {
            name,
            process,
            words: ours.into(),
            ended: false,
        };
        match error {
            None => Ok(writer),
            Some(error) => Err(error).tried(tried),
        }
    }

    /// Waits for its end; what it said, if that is why it wrote nothing.
    fn finish(mut self) -> Result<Option<String>> {
        let mut words = Vec::new();
        self.words.read_to_end(&mut words).tried(|| self.name)?;
        let code = self.process.reap().tried(|| self.name)?;
        self.ended = true;
        let words = String::from_utf8_lossy(&words);
        let said = words.trim().trim_start_matches(self.name);
        Ok((code != 0).then(|| said.trim_start_matches(": ").to_owned()))
    }
}

/// Leaves the caller's supplementary groups behind, once the map is written and
/// where that is allowed: they would leak into the container.
pub fn leave_groups(map: &IdMap) -> Result<()> {
    match process::set_groups(&[]) {
        // A user may not, who has written the map by hand (user_namespaces(7)).
        Err(error) if error.raw_os_error() == Some(libc::EPERM) && map.is_single() => Ok(()),
        result => result.tried(|| "leave supplementary groups"),
    }
}

/// The map of the user namespace at `path`, in ids of our own namespace: of a child
/// that has joined it, since only from outside does it show the host's ids.
pub fn map_of(proof: SoleThread, path: &std::path::Path) -> Result<IdMap> {
    let tried = || format!("join the user namespace {}", path.display());
    let namespace = File::open(path).tried(tried)?;
    let (ours, theirs) = socket::pair().tried(|| "make a socket pair")?;
    match process::fork(proof)? {
        Fork::Child => {
            drop(ours);
            process::die_with_parent(libc::SIGKILL);
            let namespace = std::os::fd::AsFd::as_fd(&namespace);
            let words = match process::join_namespace(proof, namespace, libc::CLONE_NEWUSER) {
                Ok(()) => "joined".to_owned(),
                Err(error) => error.to_string(),
            };
            let _ = socket::send(std::os::fd::AsFd::as_fd(&theirs), words.as_bytes(), &[]);
            // Until the parent has read the map.
            let _ = socket::receive(&theirs);
            process::exit_now(0)
        }
        Fork::Parent(child) => {
            drop(theirs);
            let (words, _) = socket::receive(&ours).tried(tried)?;
            let read = |file: &str| -> Result<Vec<IdRange>> {
                let path = format!("/proc/{}/{file}", child.pid());
                let text = std::fs::read_to_string(&path).tried(|| format!("read {path}"))?;
                Ok(parse_lines(&text))
            };
            let map = match &*words {
                b"joined" => read("uid_map").and_then(|uids| {
                    let gids = read("gid_map")?;
                    Ok(IdMap { uids, gids })
                }),
                why => Err(Error::other(String::from_utf8_lossy(why).into_owned())),
            };
            drop(ours);
            let _ = child.reap();
            map.tried(tried)
        }
    }
}

/// A user namespace beneath ours with the ids of `map` alone, as ours numbers them:
/// who stands in ours beside them is not in it.
pub fn nested(proof: SoleThread, map: &IdMap) -> Result<OwnedFd> {
    use std::os::fd::AsFd;
    let tried = || "make the container's user namespace";
    let (ours, theirs) = socket::pair().tried(tried)?;
    match process::fork(proof)? {
        Fork::Child => {
            drop(ours);
            process::die_with_parent(libc::SIGKILL);
            let made = process::unshare(proof, UnshareFlags::NEWUSER)
                // So that our parent may write our map.
                .and_then(|()| process::show())
                .and_then(|()| File::open("/proc/self/ns/user"));
            let _ = match made {
                Ok(namespace) => socket::send(theirs.as_fd(), b"made", &[namespace.as_fd()]),
                Err(error) => socket::send(theirs.as_fd(), error.to_string().as_bytes(), &[]),
            };
            // Until the parent has written the map.
            let _ = socket::receive(&theirs);
            process::exit_now(0)
        }
        Fork::Parent(child) => {
            drop(theirs);
            let (words, fds) = socket::receive(&ours).tried(tried)?;
            let same = |ranges: &[IdRange]| {
                let same = ranges.iter().map(|range| IdRange {
                    outside: range.inside,
                    ..*range
                });
                lines(&same.collect::<Vec<_>>())
            };
            let write = |file: &str, text: String| {
                std::fs::write(format!("/proc/{}/{file}", child.pid()), text)
            };
            let written = write("uid_map", same(&map.uids))
                .and_then(|()| write("gid_map", same(&map.gids)))
                .tried(tried);
            drop(ours);
            let _ = child.reap();
            match fds.into_iter().next() {
                Some(namespace) => written.map(|()| namespace),
                None => {
                    Err(Error::other(String::from_utf8_lossy(&words).into_owned()).tried(tried()))
                }
            }
        }
    }
}

/// The lines of a uid_map file (user_namespaces(7)).
fn parse_lines(text: &str) -> Vec<IdRange> {
    text.lines()
        .filter_map(|line| {
            let mut ids = line.split_ascii_whitespace().map(str::parse);
            Some(IdRange {
                inside: ids.next()?.ok()?,
                outside: ids.next()?.ok()?,
                count: ids.next()?.ok()?,
            })
        })
        .collect()
}

/// Whether we are root of a user namespace, as in a shell of `unshare`.
pub fn is_inside() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let initial = ["0", "0", "4294967295"];
    rustix::process::getuid().is_root() && !map.split_ascii_whitespace().eq(initial)
}

/// Becomes root of the user namespace we are in, once its map is written. Where
/// nobody is root we have its rights all the same, as its maker.
fn become_root(map: &IdMap) -> Result<()> {
    leave_groups(map)?;
    if map.uid_outside(0).is_none() || map.gid_outside(0).is_none() {
        return Ok(());
    }
    process::set_ids(0, 0).tried(|| "become root of the user namespace")
}

/// What a child in the namespace reports.
#[derive(Serialize, serde::Deserialize)]
enum Report<T> {
    Done(T),
    Failed(Error),
}

/// Does `work` in a forked child that is root of a new user namespace with
/// `map`, and of a mount namespace of its own, and gives back what it returns.
/// The child sees the caller's files as they are; its own mounts stay its own.
pub fn in_child<T, F>(proof: SoleThread, map: &IdMap, work: F) -> Result<T>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce() -> Result<T>,
{
    begin_in_child(proof, map, work)?.finish()
}

/// Begins `work` in a forked child, the caller as before: for what needs threads, or
/// memory that is not to stay.
pub fn begin_apart<T, F>(proof: SoleThread, work: F) -> Result<Pending<T>>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce() -> Result<T>,
{
    let entered = |_: &OwnedFd| {
        process::die_with_parent(libc::SIGKILL);
        Ok(())
    };
    begin(proof, entered, work)
}

/// Begins what [`in_child`] does, and does not wait for it to end.
pub fn begin_in_child<T, F>(proof: SoleThread, map: &IdMap, work: F) -> Result<Pending<T>>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce() -> Result<T>,
{
    let pending = begin(proof, |parent| enter(proof, map, parent), work)?;
    lend_map(proof, &pending, map)?;
    Ok(pending)
}

/// As [`begin_in_child`], but the child stays the caller, who may have no id in the
/// namespace: with all rights in there, and the caller's own on the host.
pub fn begin_as_caller<T, F>(proof: SoleThread, map: &IdMap, work: F) -> Result<Pending<T>>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce() -> Result<T>,
{
    let entered = |parent: &OwnedFd| {
        ask_for_map(proof, parent)?;
        process::hide().tried(|| "hide from containers")?;
        unshare_mounts(proof)
    };
    let pending = begin(proof, entered, work)?;
    lend_map(proof, &pending, map)?;
    Ok(pending)
}

/// A child that is at work. Dropped before its end, it is killed.
pub struct Pending<T> {
    child: crate::sys::Process,
    socket: OwnedFd,
    is_done: bool,
    result: std::marker::PhantomData<T>,
}

impl<T: DeserializeOwned> Pending<T> {
    /// Waits until its work is done, or `other` can be read: then true.
    pub fn is_overtaken_by(&self, other: BorrowedFd<'_>) -> Result<bool> {
        use rustix::event::{PollFd, PollFlags, poll};
        loop {
            let fds = [self.socket.as_fd(), other];
            let mut fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            match poll(&mut fds, None) {
                Ok(_) => return Ok(!fds[1].revents().is_empty()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for its end and gives back what its work came to.
    pub fn finish(mut self) -> Result<T> {
        let report = heard(&self.socket, Vec::new());
        let _ = self.child.reap();
        self.is_done = true;
        match report? {
            Report::Done(value) => Ok(value),
            Report::Failed(error) => Err(error),
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = self.child.signal(libc::SIGKILL);
            let _ = self.child.reap();
        }
    }
}

/// Forks a child that does `work` once it has `entered` where it is to be done.
fn begin<T, F, E>(proof: SoleThread, entered: E, work: F) -> Result<Pending<T>>
where
    T: Serialize,
    F: FnOnce() -> Result<T>,
    E: FnOnce(&OwnedFd) -> Result<()>,
{
    let (ours, theirs) = socket::pair().tried(|| "make a socket pair")?;
    match process::fork(proof)? {
        Fork::Child => {
            drop(ours);
            let entered = entered(&theirs);
            report(&theirs, entered.and_then(|()| work()))
        }
        Fork::Parent(child) => Ok(Pending {
            child,
            socket: ours,
            is_done: false,
            result: std::marker::PhantomData,
        }),
    }
}

/// Does `work` in a forked child that has joined the user and mount namespaces of
/// `process`, with all rights there, and gives back what it returns. No process of
/// those namespaces can look into the child.
pub fn in_child_beside<T, F>(proof: SoleThread, of: &crate::sys::Process, work: F) -> Result<T>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce() -> Result<T>,
{
    begin_beside(proof, of, work)?.finish()
}

/// Begins what [`in_child_beside`] does, and does not wait for it to end.
pub fn begin_beside<T, F>(
    proof: SoleThread,
    of: &crate::sys::Process,
    work: F,
) -> Result<Pending<T>>
where
    T: Serialize + DeserializeOwned,
    F: FnOnce() -> Result<T>,
{
    let joined = |_: &OwnedFd| {
        process::die_with_parent(libc::SIGKILL);
        let joined = process::hide().and_then(|()| {
            let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
            process::join_namespaces(proof, of, flags)
        });
        // New rights have cleared it (prctl(2)).
        process::die_with_parent(libc::SIGKILL);
        joined.tried(|| "join the container's namespaces")
    };
    begin(proof, joined, work)
}

/// Ends the child with what its work came to.
fn report<T: Serialize>(parent: &OwnedFd, result: Result<T>) -> ! {
    let report = match result {
        Ok(value) => Report::Done(value),
        Err(error) => Report::Failed(error),
    };
    let bytes = serde_json::to_vec(&report).unwrap_or_default();
    // A report may be long (a list of ids): send it as a stream of messages.
    for part in bytes.chunks(socket::MAX_MESSAGE / 2) {
        let _ = socket::send(std::os::fd::AsFd::as_fd(parent), part, &[]);
    }
    process::exit_now(0)
}

/// Makes a user namespace, and waits until the parent has written its map.
fn ask_for_map(proof: SoleThread, parent: &OwnedFd) -> Result<()> {
    process::die_with_parent(libc::SIGKILL);
    unshare_user(proof)?;
    socket::send(std::os::fd::AsFd::as_fd(parent), b"map", &[])?;
    if socket::receive(parent)?.0 != b"mapped" {
        return Err(Error::other("the parent did not write the id map"));
    }
    Ok(())
}

fn enter(proof: SoleThread, map: &IdMap, parent: &OwnedFd) -> Result<()> {
    ask_for_map(proof, parent)?;
    become_root(map)?;
    // Becoming root cleared it: credentials changed (prctl(2)).
    process::die_with_parent(libc::SIGKILL);
    unshare_mounts(proof)
}

/// Writes the map of a child that has just made its namespace.
fn lend_map<T>(proof: SoleThread, pending: &Pending<T>, map: &IdMap) -> Result<()> {
    let (message, _) = socket::receive(&pending.socket)?;
    if &*message != b"map" {
        // It could not make one: what it says instead is its report.
        return match heard::<serde::de::IgnoredAny>(&pending.socket, message)? {
            Report::Failed(error) => Err(error),
            Report::Done(_) => Err(Error::other("the child did not ask for its id map")),
        };
    }
    write_map(proof, pending.child.pid(), map)?;
    socket::send(std::os::fd::AsFd::as_fd(&pending.socket), b"mapped", &[])?;
    Ok(())
}

/// The child's report, of which `bytes` have come.
fn heard<T: DeserializeOwned>(socket: &OwnedFd, mut bytes: Vec<u8>) -> Result<Report<T>> {
    loop {
        let (message, _) = socket::receive(socket)?;
        if message.is_empty() {
            break;
        }
        bytes.extend(message);
    }
    serde_json::from_slice(&bytes).map_err(|_| Error::other("the process that was to do it died"))
}
