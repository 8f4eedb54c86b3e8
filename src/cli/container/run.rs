//! temporary
use super::session::Session;
use crate::cli::Example;
use crate::container::options::*;
use crate::container::*;
use crate::engine::Engine;
use crate::error::Result;
use crate::output::Output;
use std::ffi::OsString;
/// Run a command in a new container
#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    rm: bool,
    #[arg(long, short = 'd')]
    detach: bool,
    #[arg(long, short = 'i')]
    interactive: bool,
    #[arg(long, short = 't')]
    tty: bool,
    #[arg(long)]
    init: bool,
    #[arg(long)]
    name: Option<String>,
    #[arg(long, short = 'u', default_value = "")]
    user: String,
    #[arg(long, short = 'v')]
    volume: Vec<String>,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    operands: Vec<OsString>,
}
pub const EXAMPLES: &[Example] = &[];
pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    let ops: Vec<String> = args
        .operands
        .iter()
        .map(|o| o.to_string_lossy().into_owned())
        .collect();
    let image = crate::image::find(&engine.storage, &ops[0])?;
    let _lock = image.lock(&engine.storage)?;
    let argv = ops[1..].to_vec();
    let mut mounts = vec![];
    for v in &args.volume {
        let (s, d) = v.split_once(':').unwrap();
        mounts.push(Mount {
            kind: if s.starts_with('/') {
                MountKind::Bind { source: s.into() }
            } else {
                MountKind::Volume {
                    name: s.parse()?,
                    anonymous: false,
                    copy: true,
                }
            },
            destination: d.into(),
            read_only: false,
            options: vec![],
            chown: false,
            subpath: None,
        });
    }
    let options = Options {
        argv: argv.clone(),
        entrypoint: vec![],
        command: argv,
        env: image.config.env.clone(),
        workdir: "/".into(),
        user: args.user,
        hostname: None,
        labels: Default::default(),
        annotations: Default::default(),
        interactive: args.interactive,
        tty: args.tty,
        remove: args.rm,
        read_only: false,
        read_only_tmpfs: true,
        mounts,
        network: crate::network::NetworkMode::None,
        ports: vec![],
        exposed: vec![],
        hosts: Default::default(),
        init: args.init,
        privileged: false,
        cap_add: vec![],
        cap_drop: vec![],
        security: Default::default(),
        devices: vec![],
        ulimits: vec![],
        sysctls: Default::default(),
        shm_size: 65536000,
        pid: Default::default(),
        ipc: Default::default(),
        uts: Default::default(),
        cgroupns: Default::default(),
        userns: None,
        groups: vec![],
        umask: 0o22,
        stop_signal: 15,
        stop_timeout: 10,
        timeout: 0,
        restart: RestartPolicy::No,
        log: Log {
            driver: LogDriver::K8sFile,
            path: None,
            max_size: None,
            tag: None,
        },
        resources: Default::default(),
        cidfile: None,
        pidfile: None,
        monitor_pidfile: None,
        create_command: vec![],
        oom_score_adj: None,
    };
    let id = crate::id::ContainerId::random();
    let record = Record {
        name: args
            .name
            .unwrap_or_else(|| format!("n{}", id.short()))
            .parse()?,
        id,
        created: jiff::Timestamp::now(),
        image: ImageUse {
            id: image.id.clone(),
            name: ops[0].clone(),
            layers: image.layers.clone(),
        },
        options,
        map: None,
        map_reason: None,
    };
    crate::container::sweep(engine)?;
    let wanted = attach::Wanted {
        stdin: args.interactive,
        stdout: true,
        stderr: !args.tty,
        tty: args.tty,
        detach_keys: vec![16, 17],
        sig_proxy: true,
    };
    let id = record.id.clone();
    let use_it = || {};
    let detached = args.detach;
    Session { wanted, detached }.start_with(
        engine,
        &record,
        true,
        output,
        |o| {
            if detached {
                o.line(&id)
            }
        },
        use_it,
    )
}
