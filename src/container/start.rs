//! Starting a container: what the caller's process does, and what its monitor does.
//!
//! ```text
//! caller                              monitor
//! newuidmap, newgidmap begin
//! fork ───────────────────────────►   setsid; join the user namespace
//! it has its ids ─────────────────►   network begun
//! image lock let go    ◄── Created    take the seat; put the record in place
//!                                     mount namespace, overlay, volumes, files
//!                                     libcontainer: create; network; started.json
//! carry bytes          ◄── Started    start; carry bytes; reap
//! leave with the code  ◄── Exited     exit.json; remove if `--rm`; leave the seat
//! ```

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::adopt::{Adoption, adopt};
use super::cdi::Edits;
use super::cgroup::{self, Settled};
use super::exit;
use super::health::Checks;
use super::host::{self, Joins};
use super::layers::Lowers;
use super::notify::{self, Notify};
use super::options::{LogDriver, Options, RestartPolicy};
use super::remove::Retired;
use super::secrets::Secrets;
use super::shared::Shared;
use super::{Exit, Record, Seat, Started, State, create, events, remove, root_mount, rootfs};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::image::Progress;
use crate::monitor::journal::About;
use crate::monitor::log::{Format, Log};
use crate::monitor::protocol::{Event, Request, SOCKET, hear, say};
use crate::monitor::{self, Client, Ended, Handle, Supervisor, Terminal};
use crate::network::{Attached, Netns, NetworkMode, Pasta, PastaSettings};
use crate::runtime;
use crate::storage::layer::Layer;
use crate::storage::{Storage, read_unsynced, remove_tree, write_json};
use crate::sys::file::{Durable, write_whole};
use crate::sys::{process, socket};
use crate::userns::{self, IdMap};

/// How a container is to be started.
#[derive(Default)]
pub struct Launch {
    /// Its record is not in place yet: the monitor puts it there, so that it is
    /// never seen without one.
    pub fresh: bool,
    /// The first client's streams.
    pub attach: Option<Streams>,
    /// The size of the first client's window.
    pub size: Option<(u16, u16)>,
    /// Make the init and let it wait (`init`).
    pub hold: bool,
    /// Numbers of descriptors of the caller's that this start hands to the container.
    pub descriptors: Vec<i32>,
    /// What the container has as its streams, past the monitor: where these are the
    /// caller's own [`start`] finds them.
    pub stdio: Option<[Option<OwnedFd>; 3]>,
    /// What `inspect` shows of a fresh one, if its `create` event is to have it.
    pub shown: Option<String>,
    /// Hears of what takes long.
    pub progress: Option<Progress>,
    /// Of the container: [`start`] looks them up, for the monitor could not.
    pub secrets: Secrets,
    /// What devices bring, likewise.
    pub edits: Edits,
    /// What its files become once it has ended well (`build`).
    pub adoption: Option<Adoption>,
}

/// The monitor's ends of a client's pipes.
#[derive(Default)]
pub struct Streams {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// A container that was started, as its first client sees it.
pub struct Running {
    pub pid: i32,
    pub monitor: Handle,
    /// What was worth knowing on the way.
    pub warnings: Vec<String>,
}

/// Starts the container of `record`. `created` is called as soon as its record
/// is in place.
pub fn start(
    engine: &Engine,
    record: &Record,
    mut launch: Launch,
    created: impl FnOnce(),
) -> Result<Running> {
    engine.settings.ensure_runtime()?;
    // What containers.conf says of it wrongly is known now.
    engine.storage.events().backend()?;
    root_mount::refuse_mounted(&engine.storage, record)?;
    start_required(engine, record)?;
    // From within its namespace the monitor could not find out.
    engine.default_map();
    let mut joins = host::find_joins(engine, &record.options)?;
    let map = record
        .map
        .clone()
        .unwrap_or_else(|| engine.default_map().clone());
    let whole = map.and_rest(engine.default_map());
    let begun = match joins.has_user_namespace() {
        true => None,
        false => engine.namespace(&whole),
    };
    joins.begun = begun.as_ref().and_then(|begun| begun.open().ok());
    let begun = begun.filter(|_| joins.begun.is_some());
    let lowers = Lowers::ensure(engine, record, &map, launch.progress)?;
    let shared = Shared::find(engine, record)?;
    launch.secrets = Secrets::find(engine, record, launch.fresh)?;
    let named = &record.options.named_devices;
    if !named.is_empty() {
        launch.edits = Edits::find(named, &engine.settings.cdi_folders()?)?;
    }
    let mut keep: Vec<i32> = launch.attach.iter().flat_map(Streams::fds).collect();
    keep.extend(&launch.descriptors);
    launch.stdio = callers_stdio(&record.options).or(launch.stdio);
    let stdio = launch.stdio.iter().flatten().flatten();
    keep.extend(stdio.map(AsRawFd::as_raw_fd));
    keep.extend(joins.owner.iter().map(|init| init.as_fd().as_raw_fd()));
    let namespaces = [&joins.user_namespace, &joins.begun];
    keep.extend(namespaces.into_iter().flatten().map(AsRawFd::as_raw_fd));
    keep.extend(shared.fds());
    let is_held = launch.hold;
    let monitor = monitor::spawn(engine.thread, &keep, |control| {
        let given = (&lowers, &shared);
        Monitor::new(engine, record, &map, given, &mut joins, control).run(launch);
    })?;
    let mapped = |written: Result<()>| {
        if let Err(error) = written {
            let _ = monitor.process.signal(libc::SIGKILL);
            let _ = monitor.process.reap();
            return Err(error);
        }
        // Whether it is still there is heard next.
        let _ = say(&monitor.control, &Request::Mapped, &[]);
        Ok(())
    };
    if let Some(begun) = begun {
        mapped(begun.finish())?;
    }
    let mut created = Some(created);
    let mut warnings = warnings(engine, record)?;
    loop {
        match hear::<Event>(&monitor.control)? {
            Some((Event::WantsMap, _)) => {
                mapped(userns::write_map(
                    engine.thread,
                    monitor.process.pid(),
                    &whole,
                ))?;
            }
            Some((Event::Created, _)) => {
                if let Some(created) = created.take() {
                    created();
                }
            }
            Some((Event::Warning(text), _)) => warnings.push(text),
            Some((Event::Started { pid }, _)) => {
                if !is_held {
                    notify::started(&record.options, monitor.process.pid());
                }
                return Ok(Running {
                    pid,
                    monitor,
                    warnings,
                });
            }
            Some((Event::Failed(error), _)) => {
                // What the monitor undoes is undone when it is gone.
                let _ = monitor.process.reap();
                return Err(error);
            }
            Some((Event::Exited { .. }, _)) | None => {
                let _ = monitor.process.reap();
                return Err(Error::other("the container's monitor died"));
            }
        }
    }
}

/// Starts what the container must not start before (`--requires`).
fn start_required(engine: &Engine, record: &Record) -> Result<()> {
    for id in &record.options.requires {
        let needed = super::find(&engine.storage, id)?;
        if matches!(needed.status.state, State::Created | State::Exited) {
            start(engine, &needed.record, Launch::default(), || {})
                .map_err(|error| error.tried(format_args!("starting dependency {id}")))?;
        }
    }
    Ok(())
}

/// What works less well where only the caller's id can be mapped.
fn warnings(engine: &Engine, record: &Record) -> Result<Vec<String>> {
    let Some(why) = engine.why_single() else {
        return Ok(Vec::new());
    };
    let why = why.with_hint();
    let mut all = vec![format!(
        "only your own id is mapped, so the container has no users but one; {why}"
    )];
    let layers = engine.storage.read_layers(&record.image.layers)?;
    if layers.iter().flatten().any(Layer::has_other_ids) {
        all.push(format!(
            "image {} was loaded when you had subordinate ids: what in it is not root's is nobody's now",
            record.image.name
        ));
    }
    Ok(all)
}

impl Streams {
    fn fds(&self) -> Vec<i32> {
        [&self.stdin, &self.stdout, &self.stderr]
            .into_iter()
            .flatten()
            .map(AsRawFd::as_raw_fd)
            .collect()
    }
}

/// A network namespace of the container's own, and its way out. The one who goes
/// first is dropped first.
struct Network {
    pasta: Option<Pasta>,
    netns: Netns,
}

/// One start of the container and its end.
struct Life {
    ended: Ended,
    began: Timestamp,
    oom_killed: bool,
    /// What nobody need wait for to be gone.
    network: Option<Network>,
}

impl Life {
    fn exit(&self) -> Exit {
        Exit {
            code: self.ended.code,
            started: Some(self.began),
            finished: Timestamp::now(),
            oom_killed: self.oom_killed,
            error: None,
            stopped_by_user: self.ended.stopped_by_user,
            restarting: false,
        }
    }
}

/// The monitor's side.
struct Monitor<'a> {
    engine: &'a Engine,
    record: &'a Record,
    map: &'a IdMap,
    lowers: &'a Lowers,
    shared: &'a Shared,
    joins: &'a mut Joins,
    clients: Vec<Client>,
    runtime: PathBuf,
    dir: PathBuf,
    cgroup: Settled,
    /// Begun for the first life as soon as it can be: nothing takes as long.
    network: Option<Result<Option<Network>>>,
}

impl<'a> Monitor<'a> {
    fn new(
        engine: &'a Engine,
        record: &'a Record,
        map: &'a IdMap,
        (lowers, shared): (&'a Lowers, &'a Shared),
        joins: &'a mut Joins,
        control: OwnedFd,
    ) -> Self {
        Self {
            engine,
            record,
            map,
            lowers,
            shared,
            joins,
            // A step that runs on without its build would run for nobody.
            clients: vec![Client::new(control).bound(record.options.step.is_some())],
            runtime: engine.storage.container_runtime(&record.id),
            dir: engine.storage.container(&record.id),
            cgroup: Settled::default(),
            network: None,
        }
    }

    fn storage(&self) -> &Storage {
        &self.engine.storage
    }

    fn first(&self) -> Option<&Client> {
        self.clients.first()
    }

    /// Everything, to the end of this process.
    fn run(mut self, launch: Launch) {
        match self.enter(&launch) {
            Ok(seat) => self.live(seat, launch),
            Err(error) => self.tell(&Event::Failed(error.clone())),
        }
    }

    /// Writes an event down.
    fn note(&self, status: &'static str) {
        let record = events::current(self.storage(), self.record);
        events::note(self.storage(), &record, status);
    }

    fn tell(&self, event: &Event) {
        if let Some(client) = self.first() {
            client.say(event);
        }
    }

    /// Leaves for a user and a mount namespace of our own, and puts the record in
    /// place while the map is written.
    fn enter(&mut self, launch: &Launch) -> Result<Seat> {
        let fresh = launch.fresh;
        let joined = host::join_owner(self.engine, self.joins)?;
        if !joined {
            match self.joins.begun.take() {
                Some(namespace) => {
                    let thread = self.engine.thread;
                    process::join_namespace(thread, namespace.as_fd(), libc::CLONE_NEWUSER)
                        .tried(|| "join the container's user namespace")
                        .inspect_err(|_| self.hear_out())?;
                }
                None => {
                    userns::unshare_user(self.engine.thread)?;
                    self.tell(&Event::WantsMap);
                }
            }
        }
        // Nothing takes as long as the network: it is begun first, if it can be by now.
        let has_ids = joined || self.clients[0].has_said();
        if has_ids {
            self.take_ids(joined)?;
        }
        let seat = match self.take_place(fresh) {
            Ok(seat) => seat,
            Err(error) => {
                if !has_ids {
                    self.hear_out();
                }
                return Err(error);
            }
        };
        self.tell(&Event::Created);
        // While the map is written: systemd takes as long.
        let settled = cgroup::settle(self.engine, self.record);
        let ids = match has_ids {
            true => Ok(()),
            false => self.take_ids(joined),
        };
        let entered = ids
            .and_then(|()| self.enter_mounts())
            .inspect(|()| {
                if fresh {
                    events::note_created(
                        &self.engine.storage,
                        self.record,
                        launch.shown.as_deref(),
                    );
                }
            })
            .and_then(|()| self.keep(settled?));
        if let (Err(_), true) = (&entered, fresh) {
            let _ = remove::retire(self.storage(), self.record, true, None)
                .map(|retired| remove::delete(self.storage(), retired));
        }
        entered.map(|()| seat)
    }

    /// Hears that the map is written: a socket that is closed with words unread loses ours
    /// on their way (unix(7), ECONNRESET).
    fn hear_out(&self) {
        let _ = hear::<Request>(self.clients[0].control());
    }

    /// What is to go with the container need not survive a power cut.
    fn durable(&self) -> Durable {
        match self.record.options.remove {
            true => Durable::No,
            false => Durable::Yes,
        }
    }

    /// The seat, and the record in its place.
    fn take_place(&self, fresh: bool) -> Result<Seat> {
        let Some(seat) = Seat::take(self.storage(), &self.record.id)? else {
            return Err(Error::new(
                Kind::State,
                format!("container {} is already running", self.record.id),
            ));
        };
        if fresh {
            create::publish_seated(self.storage(), self.record, self.durable())?;
        } else if !self.dir.join("container.json").exists() {
            return Err(super::no_such(self.record.name.as_str()));
        }
        Ok(seat)
    }

    /// Waits until our user namespace has ids, if it is not another's, and begins what
    /// needs no more than that.
    fn take_ids(&mut self, joined: bool) -> Result<()> {
        if !joined {
            match hear::<Request>(self.clients[0].control())? {
                Some((Request::Mapped, _)) => {}
                _ => {
                    return Err(Error::other(
                        "the command that started this container was killed",
                    ));
                }
            }
        }
        if !joined && self.map.and_rest(self.engine.default_map()) != *self.map {
            self.joins.nested = Some(userns::nested(self.engine.thread, self.map)?);
        }
        // The map is written, so nobody has to look into us any more: with
        // `--pid=host` or in another's namespace the container could try.
        process::hide().tried(|| "hide from the container")?;
        if !self.record.options.keeps_groups() {
            userns::leave_groups(self.map)?;
        }
        self.network = Some(self.start_network());
        Ok(())
    }

    /// Leaves for a mount namespace of our own.
    fn enter_mounts(&mut self) -> Result<()> {
        create::use_neighbours(self.storage(), self.record, self.durable())?;
        userns::unshare_mounts(self.engine.thread)?;
        self.joins.open(&self.record.options)?;
        crate::cgroup::show_unified_only()
    }

    fn keep(&mut self, mut settled: Settled) -> Result<()> {
        if let Some(warning) = settled.warning.take() {
            self.tell(&Event::Warning(warning));
        }
        self.cgroup = settled;
        Ok(())
    }

    /// From the record in place to the end.
    fn live(mut self, seat: Seat, mut launch: Launch) {
        let mut restarts = 0;
        let mut delay = Duration::from_millis(100);
        let life = loop {
            let begun = Instant::now();
            match self.one_life(&mut launch, restarts) {
                Err(error) => {
                    self.fail(&error, launch.fresh && restarts == 0, restarts);
                    seat.leave_at_exit();
                    return;
                }
                Ok(life) => {
                    self.read_again(&life.ended);
                    let again = self.restarts(&life.ended, restarts);
                    if begun.elapsed() > Duration::from_secs(10) {
                        delay = Duration::from_millis(100);
                    }
                    if !again {
                        break life;
                    }
                    restarts += 1;
                    self.note_rest(&life);
                    self.note("restart");
                    // Who carries its streams has heard the code, and leaves with it.
                    self.clients.retain(|client| !client.is_attached());
                    if life.ended.restarts {
                        continue;
                    }
                    // As Docker does: twice as long each time, a minute at most.
                    if let Some(life) = self.rest(delay, life) {
                        break life;
                    }
                    delay = (delay * 2).min(Duration::from_secs(60));
                }
            }
        };
        if let (Some(adoption), 0) = (&launch.adoption, life.ended.code)
            && let Err(error) = adopt(&self.dir.join("upper"), adoption)
        {
            self.tell(&Event::Failed(error));
        }
        let mut retired = self.finish(&life);
        // Clients wait for our end of their sockets to close, so that who looks after
        // them sees a container that has ended, or none. None waits for the disk.
        if !retired.files.is_empty() {
            self.clients.clear();
        }
        drop(life.network);
        rootfs::dismantle_but_root(&self.runtime, self.joins);
        let _ = remove_tree(&self.runtime);
        remove::forget(self.storage(), &mut retired);
        seat.leave_at_exit();
        self.clients.clear();
        for it in &retired.files {
            rootfs::detach_root(&it.retired());
        }
        remove::delete(self.storage(), retired);
    }

    /// Takes the record as `update` and `rename` left it, if anything is to go by it.
    fn read_again(&mut self, ended: &Ended) {
        let options = &self.record.options;
        let is_over = options.restart == RestartPolicy::No && !ended.starts_again;
        if options.remove && is_over && !ended.restarts {
            return;
        }
        let text = |record: &Record| serde_json::to_string(record).ok();
        let now = read_unsynced::<Record>(&self.dir.join("container.json"));
        if let Ok(Some(now)) = now
            && text(&now) != text(self.record)
        {
            // What is borrowed of the one before is in use to the end of this process;
            // a container is not changed that often.
            self.record = Box::leak(Box::new(now));
        }
    }

    /// Says what `ps` shows until the next start.
    fn note_rest(&self, life: &Life) {
        let exit = Exit {
            restarting: true,
            ..life.exit()
        };
        let _ = exit::write(&self.dir, &exit, Durable::No);
    }

    /// Waits before a restart, listening for `stop` and `rm`: then it does not come.
    fn rest(&mut self, delay: Duration, mut life: Life) -> Option<Life> {
        let ended = &mut life.ended;
        let until = Instant::now() + delay;
        let listener = socket::listen(&self.runtime, SOCKET).ok()?;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let timeout = rustix::event::Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [rustix::event::PollFd::new(
                &listener,
                rustix::event::PollFlags::IN,
            )];
            if rustix::event::poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
                && let Ok(control) = socket::accept(listener.as_fd())
            {
                let heard = hear::<Request>(&control);
                match &heard {
                    // The user wants it at once.
                    Ok(Some((Request::Start, _))) => return None,
                    Ok(Some((Request::Signal(_), _))) => ended.stopped_by_user = true,
                    Ok(Some((Request::Stop { starts_again, .. }, _))) => {
                        ended.stopped_by_user = true;
                        ended.starts_again = *starts_again;
                    }
                    Ok(Some((Request::Remove { volumes, .. }, _))) => {
                        ended.stopped_by_user = true;
                        ended.remove = Some(*volumes);
                    }
                    _ => {}
                }
                let mut client = Client::new(control);
                if let Ok(Some((request, fds))) = heard {
                    client.attach(&request, fds);
                }
                self.clients.push(client);
                if ended.stopped_by_user {
                    return Some(life);
                }
            }
        }
    }

    /// Whether the restart policy wants it again (podman-run(1), --restart).
    fn restarts(&self, ended: &Ended, so_far: u32) -> bool {
        if ended.stopped_by_user || ended.restarts {
            return ended.restarts && !ended.stopped_by_user;
        }
        match self.record.options.restart {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { max } => ended.code != 0 && (max == 0 || so_far < max),
        }
    }

    /// Makes the init, starts it, and stays with it until it has ended.
    fn one_life(&mut self, launch: &mut Launch, restarts: u32) -> Result<Life> {
        let options = &self.record.options;
        if restarts > 0 {
            rootfs::dismantle(&self.dir, &self.runtime, self.joins);
        }
        let runtime_parent = self.storage().runtime().join("containers");
        std::fs::create_dir_all(&runtime_parent)
            .tried(|| format!("make {}", runtime_parent.display()))?;
        let _ = remove_tree(&self.runtime);
        std::fs::create_dir(&self.runtime).tried(|| format!("make {}", self.runtime.display()))?;
        let listener = socket::listen(&self.runtime, SOCKET).tried(|| "make the control socket")?;
        if let (LogDriver::K8sFile | LogDriver::JsonFile, Some(_)) =
            (options.log.driver, &options.log.tag)
        {
            // conmon's words.
            let words = "k8s-file doesn't support --log-tag";
            return Err(Error::new(Kind::CannotInvoke, words));
        }
        if !options.remove {
            exit::reserve(&self.dir)?;
        }
        let group = self.cgroup.make(&self.dir)?;
        let mut network = match self.network.take() {
            Some(begun) => begun?,
            None => self.start_network()?,
        };
        let netns = network.as_ref().map(|network| network.netns.path());
        let notify = process::with_file_ids(0, 0, || Notify::find(options, &self.runtime))?;
        let mut prepared = rootfs::prepare(
            self.engine,
            self.record,
            self.map,
            self.lowers,
            rootfs::Ground {
                runtime: &self.runtime,
                joins: self.joins,
                netns,
                shared: self.shared,
                secrets: &launch.secrets,
                edits: &launch.edits,
                notify: notify.as_ref(),
            },
        )?;
        for warning in &prepared.warnings {
            self.tell(&Event::Warning(warning.clone()));
        }

        let is_callers_stdio = options.log.driver.is_passthrough();
        let (stdio, ends) = match launch.stdio(&options.restart)? {
            Some(stdio) => (stdio, nothing_to_carry()),
            None => pipes(options.tty, options.interactive)?,
        };
        // Held at their numbers until the init has them.
        let preserved = std::mem::take(&mut launch.descriptors);
        let held: Vec<OwnedFd> = (preserved.iter())
            .filter_map(|number| process::inherited_fd(*number))
            .collect();
        let plan = runtime::Plan {
            id: self.record.id.as_str(),
            dir: &rootfs::scratch(&self.runtime)?,
            spec: std::mem::take(&mut prepared.spec),
            moves: std::mem::take(&mut prepared.moves),
            capabilities: prepared.capabilities,
            filter: prepared.filter.take(),
            tty: options.tty.then(|| launch.size.unwrap_or((24, 80))),
            init: options.init,
            stdio,
            is_callers_stdio,
            preserved,
            cgroup: group.as_ref().map(|group| &group.cgroup),
        };
        let created = runtime::create(self.engine.thread, plan)?;
        // Their files are mounted: they may be exchanged from now on.
        drop(std::mem::take(&mut prepared.volumes));
        drop(held);
        // From here on an error must end the init.
        let root_is_other = self.map.uid_outside(0) != Some(self.engine.settings.uid);
        let connected = self.connect(network.as_mut(), &prepared).and_then(|()| {
            let init = created.init.pid();
            let ready = |group: &cgroup::Group| group.ready(self.record, init, root_is_other);
            group.as_ref().map_or(Ok(()), ready)
        });
        if let Err(error) = connected {
            created.abandon();
            return Err(error);
        }
        self.cgroup.is_taken();
        let at = Timestamp::now();
        let mut started = Started {
            pid: created.init.pid(),
            start_time: created.init.start_time().unwrap_or(0),
            boot: process::boot_id(),
            at,
            held: launch.hold,
            restarts,
            cgroup: group.as_ref().map(|group| group.cgroup.folder().to_owned()),
        };
        let started_json = self.dir.join("started.json");
        let note = |started: &Started| write_json(&started_json, started, Durable::No);
        let began = note(&started)
            .and_then(|()| self.write_pidfiles(created.init.pid()))
            .and_then(|()| if launch.hold { Ok(()) } else { created.start() });
        if let Err(error) = began {
            created.abandon();
            let _ = std::fs::remove_file(&started_json);
            drop(network);
            return Err(error);
        }
        let _ = std::fs::remove_file(self.dir.join("exit.json"));
        self.note("init");
        if !launch.hold {
            self.note("start");
        }

        let terminal = match &created.master {
            Some(master) => Terminal::Pty(master.try_clone()?),
            None => ends,
        };
        let log_path = self.log_path();
        let mut log = self.open_log(&log_path)?;
        if let Some(streams) = launch.attach.take()
            && let Some(client) = self.clients.first_mut()
        {
            let request = Request::Attach {
                stdin: streams.stdin.is_some(),
                stdout: streams.stdout.is_some(),
                stderr: streams.stderr.is_some(),
            };
            let fds = [streams.stdin, streams.stdout, streams.stderr]
                .into_iter()
                .flatten()
                .collect();
            client.attach(&request, fds);
            self.note("attach");
        }
        let mut checks = Checks::new(self.engine, self.record);
        if let Err(error) = checks.reset() {
            self.tell(&Event::Warning(error.to_string()));
        }
        self.tell(&Event::Started {
            pid: created.init.pid(),
        });
        let deadline = (options.timeout > 0)
            .then(|| Instant::now() + Duration::from_secs(options.timeout.into()));
        let created = &created;
        let (storage, record) = (&self.engine.storage, self.record);
        let release: Option<Box<dyn FnOnce() -> Result<()> + '_>> = if launch.hold {
            launch.hold = false;
            Some(Box::new(move || {
                started.held = false;
                write_json(&started_json, &started, Durable::No)?;
                created.start()?;
                events::note(storage, record, "start");
                Ok(())
            }))
        } else {
            None
        };
        let hear = || notify.iter().for_each(Notify::pass_on);
        let ended = Supervisor {
            init: &created.init,
            terminal,
            listener: &listener,
            clients: &mut self.clients,
            log: &mut log,
            stop_signal: options.stop_signal,
            stop_timeout: options.stop_timeout,
            deadline,
            ticker: &mut checks,
            release,
            listens: (notify.as_ref())
                .and_then(Notify::source)
                .map(|source| (source, &hear as &dyn Fn())),
        }
        .run()
        .tried(|| "watch the container")?;
        let oom_killed = group
            .as_ref()
            .is_some_and(|group| group.cgroup.was_out_of_memory());
        drop(checks);
        let code = Some(ended.code);
        let record = events::current(self.storage(), self.record);
        events::note_with(self.storage(), &record, "died", code);
        // What the init left of processes has what is mounted in use.
        drop(group);
        // Nobody need wait for these where the container goes.
        let goes = options.remove && !ended.starts_again;
        network = network.filter(|_| goes && options.ports.is_empty());
        if !goes {
            rootfs::dismantle(&self.dir, &self.runtime, self.joins);
        }
        Ok(Life {
            ended,
            began: at,
            oom_killed,
            network,
        })
    }

    /// Makes the container's network namespace, if it has one of its own, and
    /// starts what gives it a way out; that gets ready while the rest is made.
    fn start_network(&self) -> Result<Option<Network>> {
        let options = &self.record.options;
        let thread = self.engine.thread;
        if !options.network.is_pasta() && options.network != NetworkMode::None {
            return Ok(None);
        }
        let netns = Netns::make(thread, self.joins.nested.as_ref().map(AsFd::as_fd))?;
        let pasta = match options.network.is_pasta() {
            true => Some(Pasta::start(thread, &netns, self.pasta_settings())?),
            false => None,
        };
        Ok(Some(Network { pasta, netns }))
    }

    fn pasta_settings(&self) -> PastaSettings<'_> {
        PastaSettings {
            options: self.record.options.network.pasta_options(),
            ports: &self.record.options.ports,
            cache: self.storage().cache(),
        }
    }

    /// Waits until the network is ready, and writes what the container is to know of it.
    fn connect(&self, network: Option<&mut Network>, prepared: &rootfs::Prepared) -> Result<()> {
        let attached = match network {
            Some(Network {
                pasta: Some(pasta),
                netns,
            }) => pasta.ready(self.engine.thread, netns, self.pasta_settings())?,
            _ => Attached::without_pasta(),
        };
        host::write_network_files(
            self.record,
            &prepared.rootfs,
            &prepared.files,
            &attached,
            &prepared.hostname,
        )
    }

    fn write_pidfiles(&self, init: i32) -> Result<()> {
        let options = &self.record.options;
        let files = [
            (&options.pidfile, init),
            (&options.monitor_pidfile, std::process::id() as i32),
        ];
        for (path, pid) in files {
            if let Some(path) = path {
                write_whole(path, pid.to_string().as_bytes(), Durable::No)
                    .tried(|| format!("write {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.record
            .options
            .log
            .path
            .clone()
            .unwrap_or_else(|| self.dir.join("log/ctr.log"))
    }

    fn open_log(&self, path: &std::path::Path) -> Result<Log> {
        let log = &self.record.options.log;
        if log.driver == LogDriver::Journald {
            return Log::in_journal(&About {
                id: self.record.id.to_string(),
                name: self.record.name.to_string(),
                tag: log.filled_tag.clone(),
            });
        }
        let format = match log.driver {
            LogDriver::K8sFile => Format::K8sFile,
            LogDriver::JsonFile => Format::JsonFile,
            LogDriver::Journald
            | LogDriver::None
            | LogDriver::Passthrough
            | LogDriver::PassthroughTty => Format::None,
        };
        Log::open(format, path, log.max_size)
    }

    /// The end of a container that could not be started.
    fn fail(&mut self, error: &Error, fresh: bool, restarts: u32) {
        rootfs::dismantle(&self.dir, &self.runtime, self.joins);
        let _ = remove_tree(&self.runtime);
        if restarts > 0 {
            let exit = Exit {
                code: error.exit_code().into(),
                started: None,
                finished: Timestamp::now(),
                oom_killed: false,
                error: Some(error.to_string()),
                stopped_by_user: false,
                restarting: false,
            };
            let _ = exit::write(&self.dir, &exit, Durable::Yes);
        }
        if fresh && self.record.options.remove {
            let _ = remove::retire(self.storage(), self.record, true, None)
                .map(|retired| remove::delete(self.storage(), retired));
        }
        self.tell(&Event::Failed(error.clone()));
    }

    /// The exit is recorded, then clients hear of it, then what goes is taken out of
    /// sight and given back.
    fn finish(&self, life: &Life) -> Retired {
        let (ended, code) = (&life.ended, life.ended.code);
        let options = &self.record.options;
        let goes = options.remove && !ended.starts_again;
        let removes = goes || ended.remove.is_some();
        if !removes {
            let exit = life.exit();
            let _ = exit::write(&self.dir, &exit, Durable::Yes);
            if !ended.starts_again {
                self.note("cleanup");
            }
        }
        for client in &self.clients {
            client.say(&Event::Exited { code });
        }
        let mut retired = Retired::default();
        if removes {
            let volumes = goes || ended.remove == Some(true);
            match remove::retire(self.storage(), self.record, volumes, Some(code)) {
                Ok(all) => retired = all,
                Err(error) => {
                    for client in &self.clients {
                        client.say(&Event::Failed(error.clone()));
                    }
                }
            }
        }
        retired
    }
}

/// Copies of our own standard streams, if the container is to have those. One with a
/// terminal of its own has no use for them.
fn callers_stdio(options: &Options) -> Option<[Option<OwnedFd>; 3]> {
    (options.log.driver.is_passthrough() && !options.tty).then(|| [0, 1, 2].map(process::duplicate))
}

impl Launch {
    /// The caller's streams for one start; they are kept only if another may come.
    fn stdio(&mut self, restart: &RestartPolicy) -> Result<Option<[Option<OwnedFd>; 3]>> {
        let Some(stdio) = &self.stdio else {
            return Ok(None);
        };
        if *restart == RestartPolicy::No {
            return Ok(self.stdio.take());
        }
        let mut copies = [None, None, None];
        for (copy, stream) in copies.iter_mut().zip(stdio) {
            *copy = stream.as_ref().map(OwnedFd::try_clone).transpose()?;
        }
        Ok(Some(copies))
    }
}

/// Our ends of an init whose streams do not come to us.
fn nothing_to_carry() -> Terminal {
    Terminal::Pipes {
        stdin: None,
        stdout: None,
        stderr: None,
    }
}

/// The init's stdio and our ends of it.
fn pipes(tty: bool, interactive: bool) -> Result<([Option<OwnedFd>; 3], Terminal)> {
    if tty {
        return Ok(([None, None, None], nothing_to_carry()));
    }
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).tried(|| "make a pipe");
    let (stdin_theirs, stdin_ours) = if interactive {
        let (read, write) = pipe()?;
        (Some(read), Some(write))
    } else {
        (None, None)
    };
    let (stdout_ours, stdout_theirs) = pipe()?;
    let (stderr_ours, stderr_theirs) = pipe()?;
    Ok((
        [stdin_theirs, Some(stdout_theirs), Some(stderr_theirs)],
        Terminal::Pipes {
            stdin: stdin_ours,
            stdout: Some(stdout_ours),
            stderr: Some(stderr_ours),
        },
    ))
}
